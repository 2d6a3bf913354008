"""Which fixes wait for others: a fix that keeps the function may rest on a layer that another fix changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from normadvisor.api.fixing.choices import Choice
from normadvisor.types import Applicability, Finding

__all__ = ["in_turn"]

_Line: TypeAlias = "tuple[str, int | None, int | None]"
"""Real path, cell of a notebook, line."""


def in_turn(choices: Sequence[Choice], has_failed: Callable[[Finding], bool]) -> tuple[list[Choice], list[Choice]]:
    """Part fixes into those that can be tried together and those that wait for them.

    A bias in front of a norm can be left out because of what the norm computes. Where another fix puts another norm there, the bias may
    count again: the safe fix waits until the unsafe one holds, when its finding may be gone, or has failed. What a finding rests on are
    its own lines and the related ones.

    Args:
        choices: defaults of findings, of one state of the files.
        has_failed: whether the fix of a finding was taken back before; nothing waits for it again.

    Returns:
        Those to try now, and those that wait.

    """
    unsafe = [choice for choice in choices if choice.fix.applicability is Applicability.UNSAFE and not has_failed(choice.finding)]
    changed = {line for choice in unsafe for line in _edited(choice)}
    waiting = [choice for choice in choices if choice.fix.applicability is Applicability.SAFE and not changed.isdisjoint(_ground(choice))]
    return [choice for choice in choices if choice not in waiting], waiting


def _edited(choice: Choice) -> Iterator[_Line]:
    for edit in choice.fix.edits:
        # An edit that ends before the first column of a line leaves that line alone.
        last = edit.end_line - (edit.end_column == 1 and edit.end_line > edit.line)
        for line in range(edit.line, last + 1):
            yield os.path.realpath(edit.path), edit.cell, line


def _ground(choice: Choice) -> Iterable[_Line]:
    finding = choice.finding
    places = [(finding.path, finding.cell, finding.line), *((place.path, place.cell, place.line) for place in finding.related)]
    return {(os.path.realpath(path), cell, line) for path, cell, line in places if path is not None}
