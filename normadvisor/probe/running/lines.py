"""Lines of the user's code: where a function was called, and where an attribute is set."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import sysconfig
from pathlib import Path
from types import FrameType

import torch

__all__ = ["attribute_line", "calling_line"]

_OWN = f"{Path(__file__).resolve().parent.parent}{os.sep}"
_TORCH = f"{Path(torch.__file__).resolve().parent}{os.sep}"
_LAYERS = f"{_TORCH}nn{os.sep}modules{os.sep}"
_CALLS = f"{_LAYERS}module.py"
_STANDARD = f"{Path(sysconfig.get_path('stdlib')).resolve()}{os.sep}"
_INSTALLED = f"{os.sep}site-packages{os.sep}"


def calling_line() -> str | None:
    """``path:line`` in the code that calls the function of torch that a mode is asked about; ``None`` where one of torch's layers calls it.

    Of code that is installed, the line outside of it that led there counts, if there is one.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the stack has no other door
    while frame is not None and frame.f_code.co_name != "__torch_function__":
        frame = frame.f_back
    frame = frame.f_back if frame is not None else None
    installed: str | None = None
    while frame is not None:
        path = os.path.realpath(frame.f_code.co_filename)
        if path.startswith(_OWN):
            break  # what called the model
        if path.startswith(_LAYERS) and path != _CALLS and installed is None:
            return None
        if not path.startswith(_TORCH) and Path(path).is_file():
            line = f"{path}:{frame.f_lineno}"
            if _INSTALLED not in path and not path.startswith(_STANDARD):
                return line
            installed = installed or line
        frame = frame.f_back
    return installed


def attribute_line(owner: object, name: str) -> str | None:
    """``path:line`` where the class of ``owner`` sets its attribute ``name`` first; ``None`` where that is not found."""
    for cls in type(owner).__mro__:
        code = getattr(getattr(cls, "__init__", None), "__code__", None)
        path = os.path.realpath(code.co_filename) if code is not None else ""
        if cls.__module__.split(".")[0] == "torch" or path.startswith(_TORCH) or not Path(path).is_file():
            continue
        line = _assigned(path, cls.__name__, name)
        if line is not None:
            return f"{path}:{line}"
    return None


def _assigned(path: str, cls: str, name: str) -> int | None:
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except SyntaxError:
        return None
    lines = [
        node.lineno
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef) and owner.name == cls
        for node in ast.walk(owner)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    ]
    return min(lines, default=None)
