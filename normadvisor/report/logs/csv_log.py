"""A CSV file: one row per step and layer, one column per kind of number.

The row of the run itself comes first in each step and has an empty ``layer``; a layer that is the whole model is called ``(model)``.
Numbers are written in the shortest way that reads back to the same 64-bit float, ``inf`` and ``nan`` included; what was not measured is
empty. Findings are not logged.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

from normadvisor.errors import UsageError
from normadvisor.files.replace import replace_file
from normadvisor.report.logs.step import WHOLE_MODEL, StepNumbers
from normadvisor.types import CURVES, LAYER_SERIES, RUN_SERIES

__all__ = ["COLUMNS", "check", "start"]

NUMBERS: Final = tuple(dict.fromkeys((*RUN_SERIES, *CURVES, *LAYER_SERIES)))
COLUMNS: Final = ("model", "step", "layer", *NUMBERS)
"""The header. Some kinds of numbers are those of the run as well as of layers."""


def check(place: str) -> None:
    """Whether a file can be written at ``place``.

    Raises:
        UsageError: no file is named, its folder is missing, or it is a folder.

    """
    if not place:
        raise UsageError("no file is named to log to", hint="write csv:FILE")
    path = Path(place).expanduser()
    if path.is_dir():
        raise UsageError(f"'{place}' is a folder", hint="write csv:FILE")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder '{path.parent}' to write '{path.name}' to")


def start(place: str, *, fresh: bool) -> NewFile | GrowingFile:
    """Open the file.

    Args:
        place: its path.
        fresh: take the place of the file when the log is closed, so that readers find the old rows or all of the new; else add rows to it,
            each step as it comes.

    Raises:
        UsageError: it cannot be written, or holds something else.

    """
    check(place)
    path = Path(place).expanduser()
    if fresh:
        return NewFile(path)
    try:
        return GrowingFile(path)
    except OSError as error:
        raise _unwritable(path, error) from error


class NewFile:
    """Rows for a file that is written when the log is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = [_csv([COLUMNS])]

    def write(self, numbers: StepNumbers) -> None:
        """Keep the rows of one step."""
        self._text.append(_csv(_rows(numbers)))

    def close(self) -> None:
        """Put the file into its place.

        Raises:
            UsageError: it cannot be written.

        """
        try:
            replace_file(self._path, "".join(self._text).encode())
        except OSError as error:
            raise _unwritable(self._path, error) from error


class GrowingFile:
    """A file that rows are added to. A row that a killed process left unfinished is ended first.

    Raises:
        UsageError: it has other columns.
        OSError: it cannot be opened.

    """

    def __init__(self, path: Path) -> None:
        new = not path.exists() or path.stat().st_size == 0
        start_of_file = _csv([COLUMNS]) if new else "" if _ends_a_row(path) else "\n"
        self._file: TextIO = path.open("a", encoding="utf-8", newline="")
        self._file.write(start_of_file)
        self._file.flush()

    def write(self, numbers: StepNumbers) -> None:
        """Add the rows of one step and hand them to the operating system."""
        self._file.write(_csv(_rows(numbers)))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _rows(numbers: StepNumbers) -> Iterator[list[str]]:
    rows: list[tuple[str, Mapping[str, float | None]]] = [("", numbers.run)]
    rows += [(name or WHOLE_MODEL, values) for name, values in numbers.layers.items()]
    for layer, values in rows:
        if values:
            yield [numbers.model, str(numbers.step), layer, *(_text(values.get(key)) for key in NUMBERS)]


def _text(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _csv(rows: Iterable[Sequence[str]]) -> str:
    return "".join(_line(row) for row in rows)


def _line(row: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(row)  # a carriage return within a name is quoted only where lines end with one
    return text.getvalue().removesuffix("\r\n") + "\n"


def _ends_a_row(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.readline().rstrip(b"\r\n")
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
    if header != ",".join(COLUMNS).encode():
        raise UsageError(f"'{path}' holds other columns than a log of this version", hint="name another file, or move that one away")
    return last == b"\n"


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write '{path}': {error.strerror or error}")
