"""Where the modules of a project lie: dotted names to files, without opening any."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from normadvisor.script.project.externals import NEVER_LOCAL

__all__ = ["ModulePaths"]

_MOST_PARENTS = 40
_INSTALLED = re.compile(r"[\\/](site|dist)-packages([\\/]|$)")


class ModulePaths:
    """Finds files by dotted name below some roots. What it saw of a folder is remembered."""

    def __init__(self, roots: Sequence[Path]) -> None:
        folders = [Path(os.path.abspath(root if root.is_dir() else root.parent)) for root in roots]  # noqa: PTH100 - links stay as they are
        self.roots = tuple(dict.fromkeys(str(folder) for folder in folders))
        self._folders: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self._found: dict[tuple[str, str], str | None] = {}
        self._places: dict[str, tuple[tuple[str, ...], str | None]] = {}

    def name_of(self, path: str) -> tuple[str, str, bool]:
        """Dotted name of a file, the folder that name is relative to, and whether the file is the ``__init__`` of a package."""
        folder, file = os.path.split(path)
        is_package = file == "__init__.py"
        parts = [] if is_package else [file.rpartition(".")[0] or file]
        if not self._is_package(folder):
            root = self._root_of(folder)
            inside = os.path.relpath(folder, root) if root is not None else "."
            steps = [] if inside == "." else list(Path(inside).parts)
            if steps[:1] == ["src"]:
                steps = steps[1:]
            return ".".join([*steps, *parts]), root or folder, False
        for _ in range(_MOST_PARENTS):
            if not self._is_package(folder):
                break
            folder, last = os.path.split(folder)
            parts.insert(0, last)
        return ".".join(parts), folder, is_package

    def find(self, dotted: str, importer: str) -> str | None:
        """File of a module, as seen from the file ``importer``; ``None`` for a folder without ``__init__`` and for what is external."""
        folder = os.path.dirname(importer)  # noqa: PTH120 - strings are what is quick here
        key = (folder, dotted)
        if key not in self._found:
            self._found[key] = self._search(dotted, folder)
        return self._found[key]

    def _search(self, dotted: str, folder: str) -> str | None:
        parts = dotted.split(".")
        if not all(parts):
            return None
        places, package = self._places_of(folder)
        if _INSTALLED.search(folder) is not None:
            # An installed package sees itself; its neighbours are other people's.
            top = os.path.basename(package) if package is not None else None  # noqa: PTH119
            return self._below(os.path.dirname(package), parts) if package is not None and parts[0] == top else None  # noqa: PTH120
        for place in places:
            if found := self._below(place, parts):
                return found
        if package is not None:
            top = os.path.basename(package)  # noqa: PTH119
            if parts[0] == top:
                return self._below(os.path.dirname(package), parts)  # noqa: PTH120
            if parts[0] in NEVER_LOCAL:
                return None
        for place in self._parents(folder):
            if place not in places and (found := self._below(place, parts)):
                return found
        for root in self.roots:  # files of a checkout that import it by its own name
            if parts[0] == os.path.basename(root) and len(parts) > 1 and (found := self._below(root, parts[1:])):  # noqa: PTH119
                return found
        return None

    def _places_of(self, folder: str) -> tuple[tuple[str, ...], str | None]:
        """Folders that names are looked up in first, and the folder of the outermost package that ``folder`` belongs to."""
        if folder not in self._places:
            package, parent = None, folder
            for _ in range(_MOST_PARENTS):
                if not self._is_package(parent):
                    break
                package, parent = parent, os.path.dirname(parent)  # noqa: PTH120
            places: list[str] = []
            if package is None:
                places.append(folder)
            elif self._root_of(parent) is not None:
                places.append(parent)
            for root in self.roots:
                if not self._is_package(root):
                    places.append(root)
                if "src" in self._listing(root)[1]:
                    places.append(os.path.join(root, "src"))  # noqa: PTH118
            self._places[folder] = (tuple(dict.fromkeys(places)), package)
        return self._places[folder]

    def _parents(self, folder: str) -> Iterator[str]:
        root = self._root_of(folder)
        for _ in range(_MOST_PARENTS):
            yield folder
            if root is None or folder == root:
                return
            folder = os.path.dirname(folder)  # noqa: PTH120

    def _root_of(self, folder: str) -> str | None:
        for root in self.roots:
            if folder == root or folder.startswith(root.rstrip(os.sep) + os.sep):
                return root
        return None

    def _below(self, place: str, parts: list[str]) -> str | None:
        for part in parts[:-1]:
            if part not in self._listing(place)[1]:
                return None
            place = f"{place}{os.sep}{part}"
        files, folders = self._listing(place)
        last = parts[-1]
        if last in folders and self._is_package(f"{place}{os.sep}{last}"):
            return f"{place}{os.sep}{last}{os.sep}__init__.py"
        if f"{last}.py" in files:
            return f"{place}{os.sep}{last}.py"
        return None

    def _is_package(self, folder: str) -> bool:
        return "__init__.py" in self._listing(folder)[0]

    def _listing(self, folder: str) -> tuple[frozenset[str], frozenset[str]]:
        if folder not in self._folders:
            files: set[str] = set()
            folders: set[str] = set()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.endswith(".py"):
                            files.add(entry.name)
                        elif entry.name.isidentifier() and entry.is_dir():
                            folders.add(entry.name)
            except OSError:
                pass  # a folder that cannot be listed holds nothing we could read
            self._folders[folder] = (frozenset(files), frozenset(folders))
        return self._folders[folder]
