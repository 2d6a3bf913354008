"""Answers: one key on a terminal, one line elsewhere."""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from types import FrameType
from typing import Any, Final, Protocol, TextIO, TypeAlias

__all__ = ["RESIZED", "Keys", "LineKeys", "Resized", "TerminalKeys", "open_keys"]


class Resized(Enum):
    """The terminal has another size now, or was left and came back: what is on the screen has to be drawn anew."""

    RESIZED = "resized"


RESIZED: Final = Resized.RESIZED

_SETTLED = 0.1
"""Seconds without another change of size after which a drag of the window's border is taken to have ended."""
_SEQUENCE = 0.05
"""Seconds within which the rest of an arrow's or function key's bytes follow the first."""
_END_OF_INPUT = "\x04"
"""Ctrl-D."""


class Keys(Protocol):
    """Where answers come from."""

    echoes: bool
    """Whether the reader sees what was answered without being shown."""

    def next(self) -> str | Resized:
        """The next key; empty where there will be none any more.

        Raises:
            KeyboardInterrupt: Ctrl-C.

        """
        ...

    def drop(self) -> None:
        """Forget what was typed before the next question is there to be read."""


class LineKeys:
    """The first character of every line: for pipes, files and terminals that cannot do more."""

    def __init__(self, stream: TextIO, *, echoes: bool) -> None:
        self._stream = stream
        self.echoes = echoes

    def next(self) -> str | Resized:
        """The first character of the next line; a line end where the line is blank."""
        try:
            line = self._stream.readline()
        except (OSError, ValueError):  # closed, or not text
            return ""
        return (line.strip() or "\n")[:1] if line else ""

    def drop(self) -> None:
        """Lines are answers to questions that are known to come: none is dropped."""


class TerminalKeys:
    """Single keys of a terminal, without Enter and without echo."""

    echoes = False

    def __init__(self, descriptor: int, woken: int) -> None:
        self._input = descriptor
        self._woken = woken
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def next(self) -> str | Resized:
        """The next key, escape sequences left out."""
        while True:
            ready = self._wait(None)
            if self._woken in ready:
                self._settle()
                return RESIZED
            byte = self._byte()
            if byte == b"\x1b" and self._wait(_SEQUENCE) == {self._input}:
                self._pass_sequence()
                continue
            if byte in {b"", _END_OF_INPUT.encode()}:
                return ""
            if key := self._decoder.decode(byte):
                return key

    def drop(self) -> None:
        """Forget what was typed meanwhile: it was meant for something else."""
        import termios

        with suppress(termios.error):
            termios.tcflush(self._input, termios.TCIFLUSH)
        self._decoder.reset()

    def _wait(self, seconds: float | None) -> set[int]:
        return set(select.select([self._input, self._woken], [], [], seconds)[0])

    def _byte(self) -> bytes:
        try:
            return os.read(self._input, 1)
        except OSError:  # the terminal is gone
            return b""

    def _settle(self) -> None:
        while True:
            os.read(self._woken, 4096)
            if not select.select([self._woken], [], [], _SETTLED)[0]:
                return

    def _pass_sequence(self) -> None:
        """Read the rest of a sequence such as ``ESC [ 1 ; 5 A`` or ``ESC O P``."""
        kind = self._byte()
        if kind == b"O":
            self._byte()
        elif kind == b"[":
            while (byte := self._byte()) and not b"@" <= byte <= b"~":
                pass


@contextmanager
def open_keys(stream: TextIO | None = None) -> Iterator[Keys]:
    """Read answers from a stream, standard input by default; the terminal is as it was before on every way out."""
    stream = stream or sys.stdin
    try:
        descriptor = stream.fileno()
        terminal = os.isatty(descriptor)
    except (OSError, ValueError, AttributeError):  # no file, closed, or none at all
        descriptor, terminal = -1, False
    if terminal and os.environ.get("TERM") != "dumb" and _has_termios():
        with _single_keys(descriptor) as keys:
            yield keys
    else:
        yield LineKeys(stream, echoes=terminal)


def _has_termios() -> bool:
    try:
        import termios  # noqa: F401 - whether this system has it
    except ImportError:
        return False
    return True


_Handler: TypeAlias = "Callable[[int, FrameType | None], Any] | int | None"


@contextmanager
def _single_keys(descriptor: int) -> Iterator[TerminalKeys]:
    import termios

    before = termios.tcgetattr(descriptor)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)

    def enter() -> None:
        attributes = termios.tcgetattr(descriptor)
        attributes[3] &= ~(termios.ECHO | termios.ICANON)
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(descriptor, termios.TCSADRAIN, attributes)

    def leave() -> None:
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    def redraw(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGCONT:  # the shell had the terminal meanwhile
            with suppress(termios.error):
                enter()
        with suppress(BlockingIOError):
            os.write(wake, b".")

    def end(number: int, _frame: FrameType | None) -> None:
        leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    handlers = {signal.SIGWINCH: redraw, signal.SIGCONT: redraw, signal.SIGTERM: end, signal.SIGHUP: end}
    earlier: dict[int, _Handler] = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        enter()
        yield TerminalKeys(descriptor, woken)
    finally:
        leave()
        for number, handler in earlier.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        os.close(woken)
        os.close(wake)
