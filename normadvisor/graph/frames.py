"""Where a call comes from: the frames of user code on the stack, with the exact span of the expression each is evaluating."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType

import torch

from normadvisor.targets.comprehensions import function_of, is_comprehension
from normadvisor.types import Frame, Location, Site

__all__ = ["Frames", "is_user_file"]

_SEP = os.sep
_OWN = (f"{Path(torch.__file__).resolve().parent}{_SEP}", f"{Path(__file__).resolve().parents[1]}{_SEP}")
_STDLIB = tuple(
    {os.path.realpath(path) + _SEP for key in ("stdlib", "platstdlib") if (path := sysconfig.get_paths().get(key))}
    | {path + _SEP for key in ("stdlib", "platstdlib") if (path := sysconfig.get_paths().get(key))}
)
_SITE = (f"{_SEP}site-packages{_SEP}", f"{_SEP}dist-packages{_SEP}")
_known: dict[str, bool] = {}


def is_user_file(path: str) -> bool:
    """Whether a file is neither torch's, nor this package's, nor the standard library's. Libraries of models are user code."""
    found = _known.get(path)
    if found is None:
        inside = path.startswith(_OWN) or (path.startswith("<") and path.endswith(">"))
        stdlib = path.startswith(_STDLIB) and not any(part in path for part in _SITE)
        found = _known[path] = not inside and not stdlib
    return found


def _column(path: str, line: int, offset: int | None) -> int:
    """A 0-based offset in UTF-8 bytes as a 1-based column in code points."""
    if offset is None:
        return 1
    text = linecache.getline(path, line)
    if text.isascii():
        return offset + 1
    return len(text.encode()[:offset].decode(errors="replace")) + 1


class Frames:
    """Turns the running stack into sites; every (code, instruction) pair is looked up once."""

    def __init__(self) -> None:
        self._frames: dict[tuple[CodeType, int], Frame] = {}
        self._sites: dict[tuple[tuple[CodeType, int], ...], Site] = {}

    def site(self, skip: int = 1, until: FrameType | None = None) -> Site | None:
        """The user frames above the caller, innermost first, not beyond the frame ``until``; None if there is none."""
        frame: FrameType | None = sys._getframe(skip)  # noqa: SLF001 -- the documented way to walk the stack without building a list
        keys: list[tuple[CodeType, int]] = []
        told = False  # by the comprehension that the frame is evaluating
        while frame is not None and frame is not until:
            code = frame.f_code
            if not told and is_user_file(code.co_filename):
                keys.append((code, frame.f_lasti))
            told = is_comprehension(code)
            frame = frame.f_back
        if not keys:
            return None
        key = tuple(keys)
        found = self._sites.get(key)
        if found is None:
            found = self._sites[key] = Site(tuple(self._frames.get(pair) or self._frame(*pair) for pair in keys))
        return found

    def _frame(self, code: CodeType, instruction: int) -> Frame:
        path = code.co_filename
        line, end_line, start, end = next(islice(code.co_positions(), instruction // 2, None), (None, None, None, None))
        line = line or code.co_firstlineno
        location = Location(
            path,
            line,
            _column(path, line, start),
            end_line,
            None if end is None else _column(path, end_line or line, end),
        )
        found = self._frames[code, instruction] = Frame(location, function_of(code))
        return found
