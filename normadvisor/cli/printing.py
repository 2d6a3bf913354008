"""How a report reaches the user: notes to standard error, the report to standard output or a file."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.api.check import Checked
    from normadvisor.types import Report

__all__ = [
    "Printing",
    "check_format",
    "check_writable",
    "print_notes",
    "print_problems",
    "print_report",
    "to_stderr",
    "write_file",
    "write_stdout",
]

_PROSE = frozenset({"text", "concise"})
"""Formats that tell people what could not be checked; beside the others it is said on standard error as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printing:
    """How the result is given to the user."""

    format: str | None = None
    output: Path | None = None
    statistics: bool = False
    color: str = "auto"
    quiet: bool = False
    debug: bool = False
    exit_zero: bool = False

    @property
    def use_color(self) -> bool | None:
        """Whether to use colours; ``None`` where it depends on the stream."""
        return {"always": True, "never": False}.get(self.color)


def check_format(name: str | None) -> None:
    """Refuse a format that does not exist.

    Raises:
        UsageError: there is none of this name.

    """
    if name is not None:
        from normadvisor.cli.options import choice
        from normadvisor.report import format_names

        choice("--format", name, format_names())


def check_writable(flag: str, path: Path | None, example: str) -> None:
    """Refuse a place that cannot be written before the work is done rather than after.

    Args:
        flag: the flag that names it.
        path: the place; ``None`` where the flag was not given.
        example: a name for a file, for the message.

    Raises:
        UsageError: the path is a folder, or its folder is not there or takes no new files.

    """
    from normadvisor.errors import UsageError

    if path is None:
        return
    try:
        is_folder, has_parent = path.is_dir(), path.parent.is_dir()
    except (OSError, ValueError):  # a NUL in the path, a name too long: writing says so
        return
    if is_folder:
        raise UsageError(f"{flag}: {path} is a folder", hint=f"name a file in it: {flag} {path / example}")
    if not has_parent:
        raise UsageError(f"{flag}: there is no folder {path.parent}", hint="make it first")
    try:
        # Rights do not say all: a file system may be full, read-only, or take no files at all.
        descriptor, name = tempfile.mkstemp(prefix=".normadvisor-", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise UsageError(f"{flag}: the folder {path.parent} cannot be written to ({error.strerror or error})") from error
    os.close(descriptor)
    with suppress(OSError):
        Path(name).unlink()


def print_notes(checked: Checked, printing: Printing) -> None:
    """What the reader should know beside the findings."""
    if not printing.quiet:
        to_stderr(f"note: {note}" for note in checked.report.notes)


def print_report(checked: Checked, printing: Printing, elapsed: float | None) -> None:
    """The report to standard output or a file; what could not be checked beside it where the format is for machines."""
    from normadvisor.report import RenderOptions, render

    report, settings = checked.report, checked.settings
    name = printing.format or settings.format
    others: dict[str, Any] = {
        "root": Path.cwd(), "statistics": printing.statistics, "rules": checked.rules, "elapsed": elapsed, "fail_on": settings.fail_on,
        "debug": printing.debug,
    }  # fmt: skip
    color = printing.use_color
    if printing.output is None:
        if printing.quiet and name in _PROSE and _is_clean(report):
            return
        text = render(report, name, options=RenderOptions.for_stream(sys.stdout, color=color, **others))
        sys.stdout.write(text)
    else:
        text = render(report, name, options=RenderOptions(color=bool(color), **others))
        write_file("--output", printing.output, text.encode("utf-8", "backslashreplace"))
    if name not in _PROSE or printing.output is not None:
        print_problems(checked)


def print_problems(checked: Checked) -> None:
    """What could not be checked, on standard error."""
    to_stderr(_problem_lines(checked.report))


def _is_clean(report: Report) -> bool:
    return not (report.active or report.problems or report.graphs or report.unused_noqa)


def _problem_lines(report: Report) -> Iterator[str]:
    for problem in report.problems:
        place = f"{problem.location}: " if problem.location else ""
        hint = f" ({problem.hint})" if problem.hint else ""
        yield f"error: {place}could not check {problem.target}: {problem.message}{hint}"


def to_stderr(lines: Iterable[str]) -> None:
    """Print lines to standard error, with what it cannot hold as escapes."""
    from normadvisor.report.clean import encodable

    for line in lines:
        sys.stderr.write(encodable(line, sys.stderr.encoding or "utf-8") + "\n")
    sys.stderr.flush()


def write_stdout(data: bytes) -> None:
    """Bytes on standard output as they are; as text where it takes nothing else."""
    from normadvisor.report.clean import encodable

    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(encodable(data.decode("utf-8", "backslashreplace"), sys.stdout.encoding or "utf-8"))
        return
    buffer.write(data)
    buffer.flush()


def write_file(flag: str, path: Path, data: bytes) -> None:
    """Put a file that a flag names in its place in one step.

    Raises:
        UsageError: it cannot be written.

    """
    from normadvisor.errors import UsageError
    from normadvisor.files.replace import replace_file

    try:
        replace_file(path, data)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UsageError(f"{flag}: cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
