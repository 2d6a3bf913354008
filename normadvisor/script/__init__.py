"""Scripts: what a file does with models, found out by executing it on values that stand for what it would compute. Imports no torch.

Names are loaded on first use: who reads files only, by :mod:`normadvisor.script.project`, does not pay for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.script.analysis import analyze
    from normadvisor.script.events import Event, ScriptModel, SourceProblem

__all__ = ["Event", "ScriptModel", "SourceProblem", "analyze"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{'analysis' if name == 'analyze' else 'events'}"), name)


def __dir__() -> list[str]:
    return __all__
