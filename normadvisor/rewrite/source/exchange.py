"""Lets two elements of one sequence change places, with the comments that belong to them."""

from __future__ import annotations

from normadvisor.rewrite.source.sequence import Slot
from normadvisor.rewrite.source.spans import Text
from normadvisor.types import Edit

__all__ = ["swapped_units"]


def swapped_units(first: Slot, second: Slot) -> list[Edit] | None:
    """Let two layers of one sequence change places, with the comments beside and above them; ``None`` where they do not stand in one."""
    text = Text(first.tree)
    if first.unit is second.unit or (first.holder is not second.holder and not (first.is_statement and second.is_statement)):
        return None
    one, two = first.span(), second.span()
    rests = [_comment(text, *span) for span in (one, two)]
    pairs = [(one, two)]
    if rests[0] is not None and rests[1] is not None:
        pairs += [(_comments_above(text, one[0]), _comments_above(text, two[0]))]
        pairs += [(rests[0], rests[1])] if rests[0] != rests[1] else []
    exchanged = [(here, there) for pair in pairs for here, there in (pair, pair[::-1])]
    return [text.edit(*here, text.text[slice(*there)]) for here, there in exchanged if here[0] < here[1] or there[0] < there[1]]


def _comments_above(text: Text, start: int) -> tuple[int, int]:
    """The lines directly above a unit that hold comments alone, in its own indentation."""
    first = end = text.line_start(start)
    while first > 0:
        above = text.line_start(first - 1)
        line = text.text[above : first - 1]
        if not line.lstrip().startswith("#") or text.indentation(above) != text.indentation(start):
            break
        first = above
    return first, end


def _comment(text: Text, start: int, end: int) -> tuple[int, int] | None:
    """The rest of the line behind a unit and its comma, where a unit has its lines for itself."""
    comma = text.after(end)
    behind = comma + 1 if text.text[comma : comma + 1] == "," and comma <= text.line_end(end) else end
    return (behind, text.line_end(behind)) if text.begins_line(start) and text.ends_line(behind) else None
