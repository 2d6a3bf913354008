"""Edits made in the bytes of a file: what stands outside of them is kept byte for byte."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from normadvisor.errors import RewriteError, TargetError
from normadvisor.files.notebook import is_notebook
from normadvisor.files.source import decoded, encoding_of, parse_text, text_of
from normadvisor.rewrite.text.cells import applied_to_cells
from normadvisor.rewrite.text.encoded import EncodedText
from normadvisor.rewrite.text.lines import BREAK, Splice
from normadvisor.types import Edit

__all__ = ["Merged", "applied", "merged", "overlapping"]

_Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the new file: kept or inserted."""

    text: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Merged:
    """Which of several groups of edits can be made together."""

    edits: tuple[Edit, ...]
    """Those of the groups that were taken, each once."""
    taken: tuple[int, ...]
    """Positions of these groups."""
    waiting: tuple[int, ...]
    """Positions of the others, which overlap one that was taken."""


def applied(data: bytes, path: Path, edits: Iterable[Edit]) -> bytes:
    """The contents of a Python file or a notebook after edits.

    Kept are a byte order mark, the encoding, every line ending outside of the edits, and a missing one at the end. Inserted text ends
    its lines as the line does that the edit begins in. Equal edits count once. In a notebook lines count within the cell of the edit, and
    all that is not the source of an edited line stays as it is.

    Args:
        data: contents of the file.
        path: the file, for errors.
        edits: what to change in it, in any order; their ``path`` is not looked at.

    Raises:
        RewriteError: edits overlap or leave the file, text has characters that its encoding lacks, or the result is no Python while
            the file was.
        TargetError: the file cannot be decoded, or is no notebook though its name says so.

    """
    wanted = list(dict.fromkeys(edits))
    if not wanted:
        return data
    if is_notebook(path):
        return applied_to_cells(data, path, wanted)
    before = EncodedText(data, path)
    splices = before.splices(wanted)
    pieces = _pieces(data, before, splices)
    text, result = "".join(piece.text for piece in pieces), b"".join(piece.data for piece in pieces)
    _check_encoding(before, path, text, result, splices)
    _check_syntax(data, result, path)
    return result


def _pieces(data: bytes, before: EncodedText, splices: list[Splice]) -> list[_Piece]:
    size = len(before.text)
    places = before.byte_offsets([0, size, *(offset for splice in splices for offset in (splice.begin, splice.end))])
    places[size] = len(data)  # what follows the last character, such as a switch back to ASCII, is kept with it
    head = data[: places[0]]
    pieces: list[_Piece] = []
    last = 0
    for splice in splices:
        pieces.append(_Piece(before.text[last : splice.begin], data[places[last] : places[splice.begin]]))
        text = BREAK.sub(lambda _found, at=splice.begin: before.ending_at(at), splice.edit.text)  # type: ignore[misc]
        pieces.append(_Piece(text, before.encoded(text, splice.location)))
        last = splice.end
    pieces.append(_Piece(before.text[last:], data[places[last] :]))
    return [_Piece("", head), *_kept_apart([piece for piece in pieces if piece.text or piece.data], before)]


def _kept_apart(pieces: list[_Piece], before: EncodedText) -> list[_Piece]:
    """A carriage return and a line feed that come to stand side by side would be one line ending and were two: part them by another."""
    found: list[_Piece] = []
    for piece in pieces:
        if found and found[-1].text.endswith("\r") and piece.text.startswith("\n"):
            found.append(_Piece("\r", "\r".encode(before.encoding)))
        found.append(piece)
    return found


def _check_encoding(before: EncodedText, path: Path, text: str, result: bytes, splices: list[Splice]) -> None:
    """See to it that the bytes say what was meant: an edit may have changed the coding line, or stand amid an escape sequence."""
    try:
        encoding = encoding_of(result, path)
        same = encoding.removesuffix("-sig") == before.encoding and decoded(result, encoding, path) == text
    except TargetError:
        same = False
    if not same:
        message = f"the edit cannot be made in the encoding of the file, {before.encoding}"
        raise RewriteError(message, location=splices[0].location)


def _check_syntax(before: bytes, after: bytes, path: Path) -> None:
    try:
        parse_text(text_of(before, path)[0], path)
    except TargetError:
        return
    try:
        parse_text(text_of(after, path)[0], path)
    except TargetError as error:
        raise RewriteError(f"the edits would break the file: {error.message}", location=error.location) from error


def overlapping(first: Iterable[Edit], second: Iterable[Edit]) -> bool:
    """Whether the edits of two fixes cannot be made together.

    Spans that touch count as well, since what comes of them depends on who is first; two insertions at one place touch. Equal edits,
    such as the same import, go together.
    """
    by_file = _by_file(second)
    return any(_conflict(edit, other) for edit in first for other in by_file[edit.path, edit.cell])


def merged(groups: Iterable[Sequence[Edit]]) -> Merged:
    """The groups of edits that can be made together: each in turn unless it overlaps one that was taken before.

    Args:
        groups: the edits of one fix each; a fix is made as a whole or not at all.

    """
    chosen: defaultdict[tuple[str, int | None], list[Edit]] = defaultdict(list)
    edits: dict[Edit, None] = {}
    taken: list[int] = []
    waiting: list[int] = []
    for position, group in enumerate(groups):
        if any(_conflict(edit, other) for edit in group for other in chosen[edit.path, edit.cell]):
            waiting.append(position)
            continue
        taken.append(position)
        for edit in group:
            if edit not in edits:
                edits[edit] = None
                chosen[edit.path, edit.cell].append(edit)
    return Merged(tuple(edits), tuple(taken), tuple(waiting))


def _by_file(edits: Iterable[Edit]) -> defaultdict[tuple[str, int | None], list[Edit]]:
    found: defaultdict[tuple[str, int | None], list[Edit]] = defaultdict(list)
    for edit in edits:
        found[edit.path, edit.cell].append(edit)
    return found


def _conflict(first: Edit, second: Edit) -> bool:
    """Whether two edits of one file are unequal and touch."""
    return first != second and _begin(first) <= _end(second) and _begin(second) <= _end(first)


def _begin(edit: Edit) -> _Place:
    return edit.line, edit.column


def _end(edit: Edit) -> _Place:
    return edit.end_line, edit.end_column
