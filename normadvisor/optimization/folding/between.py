"""Whether a method that did not run reads what stands between two layers that it calls."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from normadvisor.optimization.folding.written import Function, bound, calls, heads_of, loads

__all__ = ["Step", "Steps", "reads_between", "steps_of"]


@dataclass(frozen=True, slots=True)
class Step:
    """A statement without those in it."""

    called: frozenset[str]
    """What it calls, from the object on whose method it is: ``stem.conv``."""
    bound: frozenset[str]
    """Names that it gives a value to."""
    heads: tuple[ast.AST, ...]


Steps: TypeAlias = Sequence[Step]


def steps_of(function: Function) -> Steps:
    """The statements of a function in the order of its text."""
    found = []
    for statement in function.statements:
        heads = tuple(heads_of(statement))
        called = frozenset(name for head in heads for name in calls(head, function.own))
        found.append(Step(called, frozenset(bound(statement)), heads))
    return found


def reads_between(steps: Steps, first: str, second: str) -> bool:
    """Whether a name that got the result of ``first`` is read by another statement than the call of ``second``."""
    live: set[str] = set()
    meets, reads = False, False
    for step in steps:
        if first in step.called and second not in step.called:
            live = set(step.bound)
        elif second in step.called:
            meets, live = meets or any(loads(head, live) for head in step.heads), live - step.bound
        else:
            reads = reads or any(loads(head, live) for head in step.heads)
            live -= step.bound
    return meets and reads
