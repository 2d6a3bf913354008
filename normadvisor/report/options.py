"""How a report is to be rendered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from normadvisor.types import Severity

if TYPE_CHECKING:
    from normadvisor.rulebook.model import Rule

__all__ = ["RenderOptions"]

NARROWEST = 40
"""Columns below which the text format no longer tries to fit."""
NOT_A_TERMINAL = 100
"""Columns of the text format where nobody says how many there are, as in a file or a pipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """What every format may ask for beside the report itself."""

    root: Path = field(default_factory=Path.cwd)
    """Paths below this folder are shown relative to it."""
    color: bool = False
    """Whether the text format may use colours."""
    width: int = NOT_A_TERMINAL
    """Columns of the text format."""
    terminal: bool = False
    """Whether the text is read at a terminal of that width; lines of tables are cut there."""
    encoding: str = "utf-8"
    """Encoding of the stream the report goes to; what it cannot hold is replaced by ASCII."""
    statistics: bool = False
    """Whether to count the findings of each rule."""
    rules: Mapping[str, Rule] = field(default_factory=dict)
    """The rules that ran, by id."""
    elapsed: float | None = None
    """Seconds the run took."""
    fail_on: Severity = Severity.WARNING
    """Findings below this severity do not count as failures in formats that know failures."""
    debug: bool = False
    """Whether to show the traceback of a target that could not be checked."""

    @classmethod
    def for_stream(cls, stream: TextIO, *, color: bool | None = None, **others: Any) -> Self:
        """Options that suit ``stream``: colours, width and encoding as it and the environment say.

        ``color=None`` means colours on a terminal, unless ``NO_COLOR`` is set or ``TERM`` is ``dumb``; ``FORCE_COLOR`` asks for them
        elsewhere too. The width is ``COLUMNS``, or that of the terminal.
        """
        terminal = stream.isatty()
        if color is None:
            capable = (terminal and os.environ.get("TERM") != "dumb") or bool(os.environ.get("FORCE_COLOR"))
            color = capable and not os.environ.get("NO_COLOR")
        return cls(color=color, width=_columns(stream), terminal=terminal, encoding=stream.encoding or "utf-8", **others)


def _columns(stream: TextIO) -> int:
    said = os.environ.get("COLUMNS", "")[:6]
    if said.isascii() and said.isdigit() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or NOT_A_TERMINAL
    except (OSError, ValueError):  # no terminal, or not a file at all
        return NOT_A_TERMINAL
