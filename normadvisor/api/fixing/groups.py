"""One number of groups for the layers of several models that one place builds."""

from __future__ import annotations

import re
from dataclasses import replace

from normadvisor.types import Applicability, Edit, Fix
from normadvisor.types.groups import shared_group_count

__all__ = ["with_common_groups"]

_NAME = "num_groups"


def with_common_groups(fix: Fix, other: Fix) -> Fix | None:
    """The fix with a number of groups that suits the layers of another model as well.

    Args:
        fix: as one model asks for it.
        other: the same, as another model does.

    Returns:
        ``None`` where they differ in more than that, or have no number above 1 in common.

    """
    own, theirs = _groups(fix), _groups(other)
    common = None if own is None or theirs is None else shared_group_count([own, theirs])
    if common is None or own is None or theirs is None or len(fix.edits) != len(other.edits):
        return None
    edits: list[Edit] = []
    for edit, like in zip(fix.edits, other.edits, strict=True):
        if edit == like:
            edits.append(edit)
            continue
        text = _replaced(edit.text, own, common)
        if text is None or text != _replaced(like.text, theirs, common) or replace(like, text=edit.text) != edit:
            return None
        edits.append(replace(edit, text=text))
    operations = tuple(
        replace(operation, arguments={**operation.arguments, _NAME: common}) if _NAME in operation.arguments else operation
        for operation in fix.operations
    )
    weaker = Applicability.UNSAFE if other.applicability is Applicability.UNSAFE else fix.applicability
    return replace(fix, edits=tuple(edits), operations=operations, applicability=weaker)


def _groups(fix: Fix) -> int | None:
    """The only number of groups that a fix builds layers with."""
    found = {operation.arguments[_NAME] for operation in fix.operations if _NAME in operation.arguments}
    value = found.pop() if len(found) == 1 else None
    return value if isinstance(value, int) else None


def _replaced(text: str, number: int, common: int) -> str | None:
    """A text with another number; ``None`` where the number does not stand in it exactly once."""
    replaced, count = re.subn(rf"(?<![\w.]){number}(?![\w.])", str(common), text)
    return replaced if count == 1 else None
