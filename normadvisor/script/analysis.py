"""The analysis of one file."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from normadvisor.errors import TargetError
from normadvisor.script.events import ScriptModel, SourceProblem
from normadvisor.script.judge.judge import judged, of_models
from normadvisor.script.library.dispatch import TorchLibrary
from normadvisor.script.machine.machine import Machine
from normadvisor.script.machine.triggers import reads
from normadvisor.types import Location

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from normadvisor.script.project.modules import Project

__all__ = ["analyze"]

_DEEP = 6000
"""Python frames that the analysis of one file may take: calls of a script are followed into one another."""


def analyze(path: Path, project: Project) -> ScriptModel:
    """What one file does. Nothing is imported or run.

    Args:
        path: a ``.py`` file or a notebook.
        project: the files around it, in which its imports are looked up.

    Returns:
        Events in the order of their places; what could not be read stands in ``problems``. Never raises for what a file contains.

    """
    try:
        module = project.load(path)
    except TargetError as error:
        location = error.location or Location(str(path), 1)
        return ScriptModel(path=str(path), problems=(SourceProblem(message=error.message, location=location, hint=error.hint),))
    if not reads(module.text):
        return ScriptModel(path=str(path))
    machine = Machine(project, TorchLibrary())
    with _deep_recursion():
        given_up = machine.analyze(module)
        losses, sizes = of_models(machine.events, machine.things)
        events = judged(machine.events, project, module.path)
    notes = tuple(f"{path}: {reason} to analyse; it was left out" for reason in given_up)
    read = tuple(sorted(project.read_paths(module)))
    return ScriptModel(path=str(path), events=tuple(events), dependencies=read, losses=losses, batch_sizes=sizes, notes=notes)


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Allow more Python frames for a while."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEEP))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
