"""The Python files and notebooks of a folder."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["SKIPPED_FOLDERS", "is_excluded", "python_files"]

SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages", "build", "dist", "venv", "env"})
"""Folders that hold what is generated or installed, not what the user wrote. Hidden folders are skipped as well, such as
``.ipynb_checkpoints`` and our own cache."""
_SUFFIXES = (".py", ".ipynb")


def is_excluded(path: Path, root: Path, exclude: Sequence[str]) -> bool:
    """Whether a glob of ``exclude`` names ``path``: its path below ``root``, a folder on the way, or one name of it."""
    try:
        relative = path.relative_to(root)
    except ValueError:
        relative = path
    parts = relative.parts
    prefixes = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    return any(
        fnmatch.fnmatch(text, pattern.strip().removeprefix("./").rstrip("/"))
        for pattern in exclude
        for text in (*prefixes, *parts, path.as_posix())
    )


def python_files(folder: Path, exclude: Sequence[str] = ()) -> list[Path]:
    """Every ``.py`` and ``.ipynb`` file below ``folder``, sorted; links to folders are not followed.

    Args:
        folder: where to start; it is searched even if its own name would be skipped.
        exclude: globs, matched against the path below ``folder`` and against every single name of it.

    """
    return sorted(_walk(folder, folder, exclude))


def _walk(folder: Path, root: Path, exclude: Sequence[str]) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return  # a folder that cannot be opened holds nothing that could be checked
    for entry in entries:
        path = Path(entry.path)
        if is_excluded(path, root, exclude):
            continue
        if entry.is_dir(follow_symlinks=False):
            if not _skipped(path):
                yield from _walk(path, root, exclude)
        elif entry.name.endswith(_SUFFIXES) and entry.is_file():
            yield path


def _skipped(folder: Path) -> bool:
    name = folder.name
    if name.startswith(".") or name in SKIPPED_FOLDERS or name.endswith(".egg-info"):
        return True
    return (folder / "pyvenv.cfg").is_file()
