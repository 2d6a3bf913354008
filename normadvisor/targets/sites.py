"""Where every module of a model was constructed: the recorder that runs while the model is built.

``nn.Module.__init__`` is wrapped. When it runs, the frames of the module's own ``__init__`` chain are on the stack first, and
the frame after them is evaluating the constructor call; its exact span comes from the code object's position table (PEP 657).
What is kept per module is one integer in its ``__dict__``, so that copies made by :func:`copy.deepcopy` inherit the site of
their original; :meth:`SiteRecorder.collect` turns the integers into sites and removes them.
"""

from __future__ import annotations

import itertools
import linecache
import os
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.targets.comprehensions import function_of, is_comprehension
from normadvisor.types import Frame, Location, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    import torch

__all__ = ["SiteRecorder", "frame_of", "is_user_file", "site_of_code"]

_KEY = "_normadvisor_site"

_Step = tuple["CodeType", int]

MAX_FRAMES = 64
"""Longest chain of frames kept for one site; recursive builders beyond it lose their outermost frames."""


def _own_folders() -> tuple[str, ...]:
    import torch

    here = Path(__file__).resolve().parent.parent
    library = (Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("platstdlib")))
    return tuple(f"{folder.resolve()}{os.sep}" for folder in (here, Path(torch.__file__).parent, *library))


_user_files: dict[str, bool] = {}
_folders: tuple[str, ...] = ()


def is_user_file(filename: str) -> bool:
    """Whether code of this file is the user's (or a model library's), rather than torch's, Python's or this package's."""
    global _folders  # noqa: PLW0603 -- filled once, when torch is there to be asked for its folder
    known = _user_files.get(filename)
    if known is None:
        _folders = _folders or _own_folders()
        path = os.path.realpath(filename) if not filename.startswith("<") else ""
        # Installed packages may lie below the standard library's folder; they are not part of it.
        installed = f"{os.sep}site-packages{os.sep}" in path and not path.startswith(_folders[:2])
        outside = installed or not path.startswith(_folders)
        known = _user_files[filename] = bool(path) and outside
    return known


class SiteRecorder:
    """Records construction sites while :meth:`recording` is active; may be entered several times."""

    def __init__(self) -> None:
        self._chains: dict[tuple[_Step, ...], int] = {}
        self._frames: dict[_Step, Frame] = {}
        self._sites: dict[int, Site] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record every module constructed inside the ``with`` block, by frames inside that block."""
        import torch

        base = sys._getframe(2)  # noqa: SLF001 -- the frame with the `with` statement; frame 1 is contextlib's
        original: Any = torch.nn.Module.__init__
        chains = self._chains

        def construct(module: torch.nn.Module, *args: object, **kwargs: object) -> None:
            original(module, *args, **kwargs)
            state = module.__dict__
            if _KEY not in state:
                chain = _chain(module, sys._getframe(1), base)  # noqa: SLF001 -- the cheapest way to the stack
                index = chains.get(chain)
                if index is None:
                    index = chains[chain] = len(chains)
                state[_KEY] = index

        torch.nn.Module.__init__ = construct  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            torch.nn.Module.__init__ = original  # type: ignore[method-assign]

    def collect(self, model: torch.nn.Module) -> dict[str, Site]:
        """Sites of the model's modules by qualified name, shared modules under each of their names.

        Modules that no user frame constructed (unpickled ones) are absent. The marks are removed from the model.
        """
        chains = list(self._chains)
        sites: dict[str, Site] = {}
        modules = list(model.named_modules(remove_duplicate=False))
        for name, module in modules:
            index = module.__dict__.get(_KEY)
            if index is not None and chains[index]:
                sites[name] = self._site(index, chains[index])
        for _, module in modules:
            module.__dict__.pop(_KEY, None)
        return sites

    def _site(self, index: int, chain: tuple[_Step, ...]) -> Site:
        site = self._sites.get(index)
        if site is None:
            site = self._sites[index] = Site(tuple(self._frame(step) for step in chain))
        return site

    def _frame(self, step: _Step) -> Frame:
        frame = self._frames.get(step)
        if frame is None:
            frame = self._frames[step] = frame_of(*step)
        return frame


def _chain(module: object, frame: FrameType | None, base: FrameType) -> tuple[_Step, ...]:
    """Code and instruction of every user frame from the constructing one out to ``base``."""
    while frame is not None and frame is not base and _first_argument(frame) is module:
        frame = frame.f_back
    steps: list[_Step] = []
    told = False  # by the comprehension that the frame is evaluating
    while frame is not None and frame is not base and len(steps) < MAX_FRAMES:
        code = frame.f_code
        name = code.co_filename
        if not told and (_user_files.get(name) or (name not in _user_files and is_user_file(name))):
            steps.append((code, frame.f_lasti))
        told = is_comprehension(code)
        frame = frame.f_back
    return tuple(steps)


def _first_argument(frame: FrameType) -> object:
    """``self`` of a method's frame, also of a decorator's ``wrapper(*args)``; ``None`` when there is no argument."""
    code = frame.f_code
    takes_rest = bool(code.co_flags & 0x04)  # CO_VARARGS
    if not code.co_argcount and not takes_rest:
        return None
    # With `*args` alone the tuple stands after the keyword-only arguments among the local names.
    name = code.co_varnames[0 if code.co_argcount else code.co_kwonlyargcount]
    value = frame.f_locals.get(name)
    if not code.co_argcount:
        return value[0] if isinstance(value, tuple) and value else None
    return value


def frame_of(code: CodeType, lasti: int) -> Frame:
    """The span that an instruction of a code object was compiled from."""
    nothing: tuple[int | None, ...] = (None, None, None, None)
    line, end_line, column, end_column = next(itertools.islice(code.co_positions(), lasti // 2, None), nothing)
    path = os.path.realpath(code.co_filename)
    line = line or code.co_firstlineno
    if column is None or end_line is None or end_column is None:
        return Frame(Location(path, line), function_of(code))
    location = Location(path, line, _code_point(path, line, column), end_line, _code_point(path, end_line, end_column))
    return Frame(location, function_of(code))


def _code_point(path: str, line: int, offset: int) -> int:
    """1-based column in code points of a 0-based UTF-8 byte offset."""
    text = linecache.getline(path, line)
    if text.isascii():
        return offset + 1
    return len(text.encode()[:offset].decode(errors="ignore")) + 1


def site_of_code(target: object) -> Site | None:
    """Where a class or function is defined: the line of its ``class`` or ``def``; ``None`` without source, and in torch."""
    import inspect

    try:
        path = inspect.getsourcefile(target)  # type: ignore[arg-type]
        lines, start = inspect.getsourcelines(target)  # type: ignore[arg-type]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    if path is None or not is_user_file(path):
        return None
    words = ("class ", "def ", "async def ")
    offset = next((i for i, line in enumerate(lines) if line.lstrip().startswith(words)), 0)
    indent = len(lines[offset]) - len(lines[offset].lstrip())
    text = lines[offset].rstrip()
    location = Location(os.path.realpath(path), max(start, 1) + offset, indent + 1, max(start, 1) + offset, len(text) + 1)
    return Site((Frame(location, getattr(target, "__qualname__", "")),))
