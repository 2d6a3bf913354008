"""Where questions are drawn: a terminal of any ability, or a pipe."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from normadvisor.report import RenderOptions
from normadvisor.report.clean import encodable
from normadvisor.report.options import NARROWEST

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Screen", "ansi", "dialogue_stream"]

_CLEAR = "\x1b[2J\x1b[H"
_ERASE_LINE = "\r\x1b[K"
_MORE = "-- space for more, q to go back --"


def dialogue_stream() -> TextIO:
    """Where questions go: standard output if somebody watches it, else standard error, so that a report can be piped on."""
    return sys.stdout if sys.stdout.isatty() else sys.stderr


def ansi(lines: Sequence[Text], *, color: bool, width: int) -> str:
    """Lines as text, each ended by a line end; with colours as escape sequences where asked for."""
    buffer = io.StringIO()
    console = Console(
        file=buffer, force_terminal=color, color_system="standard" if color else None, no_color=not color, width=width,
        legacy_windows=False, highlight=False, markup=False, emoji=False, _environ={},
    )  # fmt: skip
    for line in lines:
        console.print(line, soft_wrap=True)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Screen:
    """A stream that people read while they answer. ``color``: whether to use it, as the stream allows where ``None``."""

    stream: TextIO
    color: bool | None = None

    @property
    def options(self) -> RenderOptions:
        """How to render now; the width is that of this moment."""
        found = RenderOptions.for_stream(self.stream, color=self.color)
        return RenderOptions(
            root=found.root, color=found.color, width=max(NARROWEST, found.width), terminal=found.terminal, encoding=found.encoding
        )

    @property
    def can_redraw(self) -> bool:
        """Whether the stream takes cursor movements."""
        return self.stream.isatty() and os.environ.get("TERM") != "dumb"

    def show(self, lines: Sequence[Text], *, prompt: bool = False) -> None:
        """Print lines; the last one stays open where it is a ``prompt``."""
        options = self.options
        text = ansi(lines, color=options.color, width=options.width)
        self.write(text.removesuffix("\n") + " " if prompt else text)

    def write(self, text: str) -> None:
        """Print text, with what the stream cannot hold as escapes."""
        self.stream.write(encodable(text, self.stream.encoding or "utf-8"))
        self.stream.flush()

    def clear(self) -> None:
        """Begin at the top of an empty screen; below what is there where the stream cannot."""
        self.write(_CLEAR if self.can_redraw else "\n\n")

    def pages(self, lines: Sequence[Text], ask: Callable[[], bool]) -> None:
        """Print lines a screenful at a time; ``ask`` tells whether to go on."""
        height = self._height()
        if height is None or len(lines) < height:
            self.show(lines)
            return
        step = max(1, height - 2)
        for begin in range(0, len(lines), step):
            self.show(lines[begin : begin + step])
            if begin + step < len(lines):
                self.write(_MORE)
                go_on = ask()
                self.write(_ERASE_LINE)
                if not go_on:
                    return

    def _height(self) -> int | None:
        if not self.can_redraw:
            return None
        try:
            return os.get_terminal_size(self.stream.fileno()).lines or None
        except (OSError, ValueError):
            return None

    @contextmanager
    def busy(self, words: str) -> Iterator[Callable[[str], None]]:
        """Show that something goes on; gives a function that says what it is at."""
        if not self.can_redraw:
            self.write(words + "\n")
            yield lambda _words: None
            return
        console = Console(file=self.stream, no_color=not self.options.color, highlight=False, markup=False, emoji=False)
        with console.status(words) as status:
            yield lambda more: status.update(f"{words}: {more}"[: self.options.width - 4])
