"""A pseudo-terminal with a program in it, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SEQUENCE = re.compile(r"\x1b(?:\[([?0-9;]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()].|[=>78])")


class Screen:
    """As much of a terminal as programs here use: line ends, wrapping, scrolling, cursor movements, erasing. Colours are noted as used."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.lines: list[str] = [""]
        self.gone: list[str] = []
        """Lines that scrolled off the top."""
        self.row = self.column = 0
        self.colored = False
        self.cursor_hidden = False
        self._rest = ""

    def feed(self, text: str) -> None:
        text = self._rest + text
        self._rest = ""
        position = 0
        while position < len(text):
            if text[position] == "\x1b":
                match = SEQUENCE.match(text, position)
                if match is None:
                    self._rest = text[position:]
                    return
                self._command(match.group(1) or "", match.group(2) or "")
                position = match.end()
            else:
                self._put(text[position])
                position += 1

    def _put(self, char: str) -> None:
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self._down()
        elif char == "\b":
            self.column = max(0, self.column - 1)
        elif char != "\x07":
            if self.column >= self.columns:
                self.column = 0
                self._down()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == self.rows:
            self.gone.append(self.lines.pop(0))
            self.row -= 1
        if self.row == len(self.lines):
            self.lines.append("")

    def _command(self, arguments: str, name: str) -> None:
        number = int(arguments) if arguments.isdigit() else 0
        if name == "m":
            self.colored = self.colored or arguments not in {"", "0"}
        elif name == "K":
            line = self.lines[self.row]
            self.lines[self.row] = "" if number == 2 else line[: self.column]
        elif name == "J" and number >= 2:
            self.lines = [""] * (self.row + 1)
        elif name == "H":
            self.row = self.column = 0
        elif name == "A":
            self.row = max(0, self.row - (number or 1))
        elif name in {"h", "l"} and arguments == "?25":
            self.cursor_hidden = name == "l"

    @property
    def text(self) -> str:
        """What is on the screen, spaces at the ends of lines left out."""
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")

    @property
    def history(self) -> str:
        """Everything that was on the screen, what scrolled off included."""
        return "\n".join(line.rstrip() for line in [*self.gone, *self.lines]).rstrip("\n")


class Terminal:
    """A program in a terminal of its own, in a session of its own, as a shell would start it."""

    def __init__(self, arguments: list[str], folder: Path, rows: int, columns: int, environment: dict[str, str]) -> None:
        self.screen = Screen(rows, columns)
        self._master, slave = pty.openpty()
        self._size(slave, rows, columns)
        self.before = termios.tcgetattr(slave)
        base = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI"}}
        self.process = subprocess.Popen(
            arguments, cwd=folder, stdin=slave, stdout=slave, stderr=slave, env={**base, "TERM": "xterm-256color", **environment},
            preexec_fn=_take_terminal, close_fds=True,  # noqa: PLW1509 - no threads here
        )  # fmt: skip
        self._slave = slave

    @staticmethod
    def _size(descriptor: int, rows: int, columns: int) -> None:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, pattern: str, timeout: float = 600) -> str:
        """Read until the screen matches; what matched is on the screen then."""
        deadline = time.monotonic() + timeout
        while re.search(pattern, self.screen.text, re.MULTILINE) is None:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"no {pattern!r} on the screen:\n{self.screen.history}")
        return self.screen.text

    def rest(self) -> None:
        """Read what is still on its way, such as the end of a line."""
        while self._read(0.2):
            pass

    def _read(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.screen.feed(data.decode(errors="replace"))
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """As a window manager does it: the kernel tells the program."""
        self.screen.rows, self.screen.columns = rows, columns
        self._size(self._master, rows, columns)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, timeout: float = 600) -> int:
        """The exit code, everything that was printed read."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        while self._read(0.05):
            pass
        return self.process.wait(timeout=10)

    @property
    def modes(self) -> list[object]:
        """The settings of the terminal now, to compare with ``before``."""
        return termios.tcgetattr(self._slave)

    def set_modes(self, modes: list[object]) -> None:
        termios.tcsetattr(self._slave, termios.TCSANOW, modes)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)


def _take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start Python with arguments in a terminal."""
    started: list[Terminal] = []

    def start(*arguments: str | Path, rows: int = 40, columns: int = 100, **environment: str) -> Terminal:
        found = Terminal([sys.executable, *map(str, arguments)], tmp_path, rows, columns, environment)
        started.append(found)
        return found

    yield start
    for each in started:
        each.close()
