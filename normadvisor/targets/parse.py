"""What a target names: a file, a folder, or an object in a file or a module, perhaps called with literals.

Targets are parsed, never evaluated: the arguments of a call are read with :func:`ast.literal_eval`.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from normadvisor.errors import TargetError
from normadvisor.files.source import read_source

__all__ = ["MAX_LENGTH", "WHAT_TARGETS_ARE", "Target", "TargetKind", "parse_target", "public_names"]

MAX_LENGTH = 4096
"""Longest target, in characters."""
WHAT_TARGETS_ARE = "targets are .py and .ipynb files, folders, file.py:Name and package.module:Name"
"""The hint where nothing nearer can be said."""

_OBJECT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\s*(\(.*\))?\s*", re.DOTALL)
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class TargetKind(StrEnum):
    """What a target is before anything of it is imported."""

    FILE = "file"
    FOLDER = "folder"
    OBJECT = "object"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parsed target.

    Either ``path`` or ``module`` is set. ``name`` is the dotted name inside it (empty for a file or a folder);
    ``args`` and ``kwargs`` are the literals of a call, and ``called`` says whether parentheses were written.
    """

    text: str
    kind: TargetKind
    path: Path | None = None
    module: str = ""
    name: str = ""
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    called: bool = False

    def __str__(self) -> str:
        """The target as it was written."""
        return self.text


def parse_target(text: str, cwd: Path) -> Target:
    """Parse one target.

    Args:
        text: ``file.py``, ``folder``, ``file.py:Name``, ``package.module:Name``, or either of the last two with a call's
            literals: ``package.module:build(18, num_classes=10)``.
        cwd: folder that relative paths start from.

    Raises:
        TargetError: nothing of that name exists, or the text cannot be understood.

    """
    text = text.strip()
    if not text:
        message = "an empty target"
        raise TargetError(message, hint=WHAT_TARGETS_ARE)
    if len(text) > MAX_LENGTH or "\0" in text:
        message = f"the target {text[:40]!r}... is too long or holds NUL characters"
        raise TargetError(message)
    path = cwd / text
    if _exists(path):
        if path.is_dir():
            return Target(text=text, kind=TargetKind.FOLDER, path=path)
        return _file(text, path)
    place, name = _split(text)
    if not name:
        raise _nothing_there(text, place, cwd)
    attribute, args, kwargs, called = _parse_object(name, text)
    parts: dict[str, Any] = {"text": text, "kind": TargetKind.OBJECT, "name": attribute, "args": args, "kwargs": kwargs, "called": called}
    path = cwd / place
    if _exists(path) and path.is_file():
        return Target(path=_file(text, path).path, **parts)
    if place.endswith(".py") or "/" in place or "\\" in place or not _MODULE.fullmatch(place):
        if _exists(path):
            message = f"{place} is a folder, so {name!r} cannot be looked up in it"
            raise TargetError(message, hint="name the file: folder/file.py:Name")
        raise _nothing_there(text, place, cwd)
    return Target(module=place, **parts)


def public_names(path: Path) -> list[str]:
    """Names of the classes, functions and variables at the top level of a file, without a leading underscore.

    Raises:
        TargetError: the file cannot be read or parsed.

    """
    names: dict[str, None] = {}
    for node in read_source(path).tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names[node.name] = None
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update({target.id: None for target in targets if isinstance(target, ast.Name)})
    return [name for name in names if not name.startswith("_")]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name longer than the file system allows, or with characters it forbids
        return False


def _file(text: str, path: Path) -> Target:
    if path.suffix not in {".py", ".pyw", ".ipynb"}:
        message = f"{path} is neither a Python file nor a notebook"
        raise TargetError(message, hint="targets are .py and .ipynb files, folders, file.py:Name and package.module:Name")
    return Target(text=text, kind=TargetKind.FILE, path=path)


def _split(text: str) -> tuple[str, str]:
    """Place and object of a target; the object is empty when no colon is followed by a name or a call."""
    start = 2 if _DRIVE.match(text) else 0
    for index in (i for i, char in enumerate(text) if char == ":" and i >= start):
        if index and _OBJECT.fullmatch(text, index + 1):
            return text[:index], text[index + 1 :].strip()
    for mark in (".py:", ".py("):
        if mark in text:
            place, _, rest = text.partition(mark)
            message = f"{rest!r} is not a name or a call" if mark == ".py:" else f"{text!r} names no object"
            raise TargetError(message, hint=f"say {place}.py:Name or {place}.py:Name(key=1)")
    return text, ""


def _parse_object(name: str, text: str) -> tuple[str, tuple[Any, ...], dict[str, Any], bool]:
    if "(" not in name:
        return name, (), {}, False
    try:
        call = ast.parse(name, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        message = f"the call in {text!r} cannot be parsed: {getattr(error, 'msg', None) or error}"
        raise TargetError(message, hint="arguments are Python literals: file.py:Name(18, num_classes=10)") from error
    attribute = _dotted(call.func) if isinstance(call, ast.Call) else None
    if attribute is None or not isinstance(call, ast.Call):
        message = f"{name!r} is not one call of a name"
        raise TargetError(message, hint="arguments are Python literals: file.py:Name(18, num_classes=10)")
    args = tuple(_literal(node, f"argument {i}", text) for i, node in enumerate(call.args, 1))
    kwargs: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            message = f"'**' in {text!r}: only plain arguments are taken"
            raise TargetError(message)
        if keyword.arg in kwargs:
            message = f"argument {keyword.arg!r} is given twice in {text!r}"
            raise TargetError(message)
        kwargs[keyword.arg] = _literal(keyword.value, f"argument {keyword.arg!r}", text)
    return attribute, args, kwargs, True


def _literal(node: ast.expr, what: str, text: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        written = ast.unparse(node) if not isinstance(error, MemoryError | RecursionError) else "..."
        message = f"{what} of {text!r} is {written[:60]!r}, which is not a literal"
        hint = "numbers, strings, True, None, tuples, lists and dicts are taken; for more, write a factory function and name it"
        raise TargetError(message, hint=hint) from error


def _dotted(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def _nothing_there(text: str, place: str, cwd: Path) -> TargetError:
    message = f"no file or folder {place!r}"
    near = _nearest_file(place, cwd)
    if near:
        return TargetError(message, hint=f"did you mean {text.replace(place, near, 1)!r}?")
    if place == text and _MODULE.fullmatch(text) and not text.endswith(".py"):
        return TargetError(message, hint=f"for an object of a module say '{text}:Name'")
    return TargetError(message, hint=WHAT_TARGETS_ARE)


def _nearest_file(place: str, cwd: Path) -> str | None:
    """The file or folder whose name is closest to ``place``: beside it, or one folder up or down."""
    path = cwd / place
    parent = path.parent
    while not _exists(parent) and parent != parent.parent:
        parent = parent.parent
    try:
        entries = [entry for entry in sorted(parent.iterdir()) if entry.is_dir() or entry.suffix in {".py", ".ipynb"}]
        folders = [entry for entry in entries[:50] if entry.is_dir() and entry.name[0] not in "._"]
        below = [child for folder in folders for child in sorted(folder.glob("*.py"))[:200]]
    except OSError:
        return None
    if not place.endswith(".py") and (beside := path.with_name(path.name + ".py")) in entries:
        return _relative(beside, cwd)
    same = [child for child in below if child.name == path.name]
    if same:
        return _relative(same[0], cwd)
    names = {entry.name: entry for entry in reversed(entries) if not entry.name.startswith(".")}
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return _relative(names[close[0]], cwd) if close else None


def _relative(path: Path, cwd: Path) -> str:
    try:
        return path.relative_to(cwd).as_posix()
    except ValueError:
        return str(path)
