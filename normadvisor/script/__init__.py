"""Scripts: what a file does with models, found out by executing it on values that stand for what it would compute. Imports no torch."""

from __future__ import annotations

from normadvisor.script.analysis import analyze
from normadvisor.script.events import Event, ScriptModel, SourceProblem

__all__ = ["Event", "ScriptModel", "SourceProblem", "analyze"]
