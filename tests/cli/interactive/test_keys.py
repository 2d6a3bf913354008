"""Keys of a real terminal, and lines of everything else."""

from __future__ import annotations

import io
import os
import signal
import time

import pytest

from normadvisor.cli.interactive.keys import LineKeys, open_keys

LOOP = """
from normadvisor.cli.interactive.keys import RESIZED, open_keys
try:
    with open_keys() as keys:
        print(type(keys).__name__, flush=True)
        while key := keys.next():
            print("RESIZED" if key is RESIZED else repr(key), flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print("ended", flush=True)
"""


def test_keys_need_no_enter_and_are_not_echoed(terminal):
    found = terminal("-c", LOOP)
    found.wait("TerminalKeys")
    found.type("y")
    found.wait("'y'")
    found.type("nü")
    found.wait("'ü'")
    found.type("\x04")
    assert found.end() == 0
    assert found.screen.history == "TerminalKeys\n'y'\n'n'\n'ü'\nended"
    assert found.modes == found.before


@pytest.mark.parametrize("sequence", ["\x1b[A", "\x1b[1;5C", "\x1bOP", "\x1b[200~", "\x1b[15~", "\x1bx"])
def test_arrows_and_function_keys_are_no_answers(terminal, sequence):
    found = terminal("-c", LOOP)
    found.wait("TerminalKeys")
    found.type(sequence)
    time.sleep(0.2)
    found.type("y\x04")
    assert found.end() == 0
    assert found.screen.history == "TerminalKeys\n'y'\nended"


def test_escape_alone_is_a_key(terminal):
    found = terminal("-c", LOOP)
    found.wait("TerminalKeys")
    found.type("\x1b")
    found.wait(r"'\\x1b'")


def test_a_dragged_border_is_one_resize(terminal):
    found = terminal("-c", "from normadvisor.cli.interactive import keys\nkeys._SETTLED = 1.5\n" + LOOP)
    found.wait("TerminalKeys")
    for columns in range(90, 60, -5):
        found.resize(40, columns)
        time.sleep(0.02)
    found.wait("RESIZED")
    found.type("\x04")
    assert found.end() == 0
    assert found.screen.history == "TerminalKeys\nRESIZED\nended"


def test_ctrl_c_leaves_the_terminal_as_it_was(terminal):
    found = terminal("-c", LOOP)
    found.wait("TerminalKeys")
    assert found.modes != found.before
    time.sleep(0.3)  # until it waits for a key
    found.type("\x03")
    assert found.end() == 0
    assert found.screen.history == "TerminalKeys\ninterrupted\nended"
    assert found.modes == found.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_leaves_the_terminal_as_it_was(terminal, number):
    found = terminal("-c", LOOP)
    found.wait("TerminalKeys")
    found.signal(number)
    assert found.end() == -number
    assert found.modes == found.before


def test_a_program_that_was_stopped_takes_the_terminal_again(terminal):
    found = terminal("-c", LOOP)
    found.wait("TerminalKeys")
    in_use = found.modes
    found.signal(signal.SIGSTOP)
    os.waitpid(found.process.pid, os.WUNTRACED)
    found.set_modes(found.before)  # as a shell does
    found.signal(signal.SIGCONT)
    found.wait("RESIZED")
    assert found.modes == in_use
    found.type("y")
    found.wait("'y'")


def test_a_dumb_terminal_gives_lines(terminal):
    found = terminal("-c", LOOP, TERM="dumb")
    found.wait("LineKeys")
    found.rest()  # else the echo may come before the end of the line
    found.type("yes\n")
    found.wait("'y'")
    found.type("\x04")
    assert found.end() == 0
    assert found.screen.history == "LineKeys\nyes\n'y'\nended"


def test_lines():
    keys = LineKeys(io.StringIO("yes\n\n  n \nq"), echoes=False)
    assert [keys.next() for _ in range(5)] == ["y", "\n", "n", "q", ""]


def test_a_stream_that_is_closed_has_ended():
    stream = io.StringIO("y\n")
    stream.close()
    with open_keys(stream) as keys:
        assert keys.next() == ""


def test_bytes_that_are_no_text_end_the_input(tmp_path):
    (tmp_path / "answers").write_bytes(b"\xff\xfe\n")
    with (tmp_path / "answers").open(encoding="utf-8") as stream, open_keys(stream) as keys:
        assert keys.next() == ""
