from __future__ import annotations

import io
import subprocess
import sys

import pytest

from normadvisor.report import RenderOptions


class Terminal(io.StringIO):
    def __init__(self, *, tty: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self.tty = tty
        self.named = encoding

    @property
    def encoding(self) -> str:
        return self.named

    def isatty(self) -> bool:
        return self.tty


@pytest.mark.parametrize(
    ("tty", "environment", "asked", "expected"),
    [
        (True, {}, None, True),
        (False, {}, None, False),
        (True, {"NO_COLOR": "1"}, None, False),
        (True, {"NO_COLOR": ""}, None, True),
        (True, {"TERM": "dumb"}, None, False),
        (False, {"FORCE_COLOR": "1"}, None, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, None, False),
        (True, {}, False, False),
        (False, {"NO_COLOR": "1"}, True, True),
    ],
)
def test_color(tty, environment, asked, expected, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert RenderOptions.for_stream(Terminal(tty=tty), color=asked).color is expected


@pytest.mark.parametrize(("columns", "expected"), [("77", 77), ("", 100), ("zero", 100), ("0", 100), ("-5", 100), ("\u0663", 100)])
def test_width(columns, expected, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert RenderOptions.for_stream(Terminal(tty=False)).width == expected


def test_encoding_and_what_else_is_passed():
    options = RenderOptions.for_stream(Terminal(tty=False, encoding="cp437"), statistics=True, elapsed=2.0)
    assert (options.encoding, options.statistics, options.elapsed) == ("cp437", True, 2.0)


def test_importing_the_package_loads_no_library():
    code = "import sys, normadvisor.report; print(sorted({'rich', 'jinja2', 'torch', 'pydantic', 'yaml', 'xml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
