"""Which finders there are, and what they find in one model."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from normadvisor import optimization
from normadvisor.optimization.candidate import Candidate, Finder, Refused, Setting
from normadvisor.rewrite.proof.words import told
from normadvisor.types.optimization import STAGES

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.graph.model import ModelGraph

__all__ = ["Found", "find", "finders"]


@dataclass(slots=True)
class Found:
    """What the finders of a stage found."""

    candidates: list[Candidate] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Which finder failed, and how."""


@cache
def finders() -> dict[str, tuple[Finder, ...]]:
    """All finders by stage.

    A finder stands in a list ``FINDERS`` of pairs of stage and function, in a module directly below a package of
    :mod:`normadvisor.optimization`; being there is all it takes.

    Raises:
        ValueError: one names a stage that does not exist.

    """
    by_stage: dict[str, list[Finder]] = {stage: [] for stage in STAGES}
    for name in _modules():
        for stage, finder in getattr(importlib.import_module(name), "FINDERS", ()):
            if stage not in by_stage:
                message = f"{name}: there is no stage {stage!r}"
                raise ValueError(message)
            by_stage[stage].append(finder)
    return {stage: tuple(found) for stage, found in by_stage.items()}


def _modules() -> Iterator[str]:
    for package in pkgutil.iter_modules(optimization.__path__, f"{optimization.__name__}."):
        if package.ispkg:
            path = importlib.import_module(package.name).__path__
            yield from sorted(module.name for module in pkgutil.iter_modules(path, f"{package.name}.") if not module.ispkg)


def find(model: nn.Module, graph: ModelGraph, setting: Setting, stage: str, rules: tuple[str, ...] = ()) -> Found:
    """Ask every finder of a stage.

    Args:
        model: as the stages before left it; not changed.
        graph: its trace.
        setting: what for.
        stage: one of :data:`~normadvisor.types.optimization.STAGES`.
        rules: ids of rules whose replacements are wanted; all when empty.

    """
    found = Found()
    for finder in finders()[stage]:
        try:
            for item in finder(model, graph, setting):
                if rules and item.rule not in rules:
                    continue
                if isinstance(item, Candidate):
                    found.candidates.append(item)
                else:
                    found.refused.append(item)
        except Exception as error:  # noqa: BLE001 -- looks at code that is not ours; what the others find counts all the same
            found.notes.append(f"{getattr(finder, '__name__', 'a finder')} could not look at the model: {told(error)}")
    return found
