"""Many module names in few words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from normadvisor.report.clean import one_line

__all__ = ["compact", "listed"]

_NUMBER = re.compile(r"(?<!\d)(0|[1-9]\d{0,8})(?!\d)")


def compact(names: Iterable[str]) -> list[str]:
    """Merge names that differ in numbers alone: ``layer{1-4}.{0,1}.conv1``.

    Exact: the braces of a result stand for all the names that went into it and no others. The order is that of the first name of
    each result.
    """
    groups: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
    for name in dict.fromkeys(names):
        pieces = _NUMBER.split(name)
        groups.setdefault(tuple(pieces[::2]), []).append(tuple(int(number) for number in pieces[1::2]))
    return [_joined(words, box) for words, rows in groups.items() for box in _boxes(rows)]


def _boxes(rows: list[tuple[int, ...]]) -> list[tuple[tuple[int, ...], ...]]:
    """Cover rows of numbers by products of sets, merging along the last position first."""
    boxes: list[tuple[tuple[int, ...], ...]] = [tuple((number,) for number in row) for row in rows]
    for position in reversed(range(len(rows[0]))):
        merged: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for box in boxes:
            merged.setdefault(box[:position] + box[position + 1 :], []).extend(box[position])
        boxes = [(*rest[:position], tuple(sorted(numbers)), *rest[position:]) for rest, numbers in merged.items()]
    return boxes


def _joined(words: Sequence[str], box: Sequence[tuple[int, ...]]) -> str:
    pieces = [words[0]]
    for numbers, word in zip(box, words[1:], strict=True):
        pieces += [str(numbers[0]) if len(numbers) == 1 else "{" + ",".join(_ranges(numbers)) + "}", word]
    return "".join(pieces)


def _ranges(numbers: Sequence[int]) -> list[str]:
    """``[0, 1, 2, 5, 6]`` as ``["0-2", "5", "6"]``: only three or more in a row are worth a range."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [text for run in runs for text in ([f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(number) for number in run])]


def listed(names: Sequence[str], limit: int = 4) -> str:
    """At most ``limit`` merged names and how many modules they are; the empty name is the model itself."""
    merged = [one_line(name) or "the model itself" for name in compact(names)]
    text = ", ".join(merged[:limit])
    if len(merged) > limit:
        text += ", \u2026"
    return f"{text} ({len(names)} modules)" if len(names) > 1 else text
