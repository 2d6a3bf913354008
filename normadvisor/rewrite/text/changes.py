"""What edits make of files: before and after, as a diff for people and as a patch for ``git apply``."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from normadvisor.errors import RewriteError, TargetError
from normadvisor.files.source import read_bytes, text_of
from normadvisor.rewrite.text.apply import applied
from normadvisor.types import Edit, Location

__all__ = ["FileChange", "changed_files", "diff", "git_root", "patch"]


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before and after edits."""

    path: Path
    before: bytes
    """What it held when it was read."""
    after: bytes


def changed_files(edits: Iterable[Edit], read: Callable[[Path], bytes] = read_bytes) -> list[FileChange]:
    """Edits of any number of files, made in the contents of each; nothing is written.

    Args:
        edits: what to change; paths that lead to one file count as one.
        read: how to read a file.

    Returns:
        The files that come out otherwise than they were, in the order of their paths.

    Raises:
        RewriteError: see :func:`normadvisor.rewrite.text.apply.applied`.
        TargetError: a file cannot be read.

    """
    by_file: dict[Path, list[Edit]] = {}
    for edit in edits:
        by_file.setdefault(Path(edit.path).resolve(), []).append(edit)
    changes = []
    for path, own in sorted(by_file.items()):
        before = read(path)
        after = applied(before, path, own)
        if after != before:
            changes.append(FileChange(path, before, after))
    return changes


_CONTEXT = 3
"""Unchanged lines around a change, as ``git diff`` shows them."""
_BOLD, _RED, _GREEN, _CYAN, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[0m"
_COLORS = {"@": _CYAN, "-": _RED, "+": _GREEN}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NO_NEWLINE = "\\ No newline at end of file"


def diff(change: FileChange, *, root: Path, color: bool = False) -> str:
    """A unified diff of the text, for people; empty where nothing changed.

    Line endings are not shown: a change of nothing else does not appear. Use :func:`patch` for a machine.

    Args:
        change: the file.
        root: the folder that paths are given from; a file elsewhere is named in full.
        color: whether to colour lines by escape sequences as ``git diff`` does; control characters of the file are then shown as escapes.

    """
    name = _shown(change.path, root)
    before, after = _text(change.before, change.path), _text(change.after, change.path)
    lines = list(_unified(before, after, f"a/{name}", f"b/{name}"))
    if color:
        lines = [_colored(line, header=position < len(_HEADER)) for position, line in enumerate(lines)]
    return "".join(f"{line}\n" for line in lines)


_HEADER = ("---", "+++")


def _shown(path: Path, root: Path) -> str:
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.resolve().as_posix().lstrip("/")


def _text(data: bytes, path: Path) -> str:
    try:
        return text_of(data, path.with_suffix(".py"))[0]
    except TargetError:
        return data.decode("utf-8", "replace")


def _colored(line: str, *, header: bool) -> str:
    line = _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), line)
    color = _BOLD if header else _COLORS.get(line[:1])
    return f"{color}{line}{_PLAIN}" if color else line


def _unified(before: str, after: str, old: str, new: str) -> Iterator[str]:
    """Lines of a unified diff without their endings; only line feeds end a line."""
    first, second = before.split("\n"), after.split("\n")
    # An empty last part stands for the line feed at the end; where there is none the line is told apart by the mark it will get.
    for parts in (first, second):
        last = parts.pop()
        if last:
            parts.append(f"{last}\n{_NO_NEWLINE}")
    yield from difflib.unified_diff(first, second, old, new, n=_CONTEXT, lineterm="")


def patch(changes: Iterable[FileChange], root: Path) -> bytes:
    """Changes as one patch that ``git apply`` takes, byte for byte, whatever the line endings and encodings.

    Args:
        changes: the files.
        root: paths are given from the work tree that holds it, or from itself where there is none.

    Returns:
        The patch; empty where nothing changed.

    Raises:
        RewriteError: a file lies outside.

    """
    base = git_root(root) or root.resolve()
    return b"".join(_file_patch(change, base) for change in changes if change.before != change.after)


def git_root(folder: Path) -> Path | None:
    """The top of the git work tree that holds a folder."""
    folder = folder.resolve()
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)


def _file_patch(change: FileChange, base: Path) -> bytes:
    path = change.path.resolve()  # git would change a link itself rather than the file it leads to
    try:
        name = os.fsencode(path.relative_to(base).as_posix())
    except ValueError as error:
        message = f"{path} lies outside of {base}, so a patch cannot name it"
        raise RewriteError(message, location=Location(str(path), 1)) from error
    # Latin-1 gives every byte a character and back.
    old, new = (_quoted(prefix + name).decode("latin-1") for prefix in (b"a/", b"b/"))
    # As git does it: a tab ends a name with a space in it, which else might be taken for the time that other tools put there.
    after_name = "\t" if b" " in name and not old.startswith('"') else ""
    lines = _unified(change.before.decode("latin-1"), change.after.decode("latin-1"), old + after_name, new + after_name)
    return "".join(f"{line}\n" for line in (f"diff --git {old} {new}", *lines)).encode("latin-1")


_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def _quoted(name: bytes) -> bytes:
    """A path as git writes it: in quotes where it has characters that need them."""
    if not any(byte < 32 or byte >= 127 or byte in {34, 92} for byte in name):
        return name
    text = "".join(_ESCAPES.get(byte) or (f"\\{byte:03o}" if byte < 32 or byte >= 127 else chr(byte)) for byte in name)
    return f'"{text}"'.encode("ascii")
