"""Keeps what reading a file gave, until something it depends on changes.

An entry holds for the contents of the file and of every file that was read to know it, for the names of the files beside those (a new
module may be what an import means), for the rules, the settings, the version of this program and that of Python. Entries are JSON: a cache
somebody else wrote can make a report wrong, as somebody who can write there could by changing the code itself, and can do nothing more.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from normadvisor import __version__
from normadvisor.api.static.analyse import Setup, setup_key
from normadvisor.api.static.result import FileResult

__all__ = ["MOST_BYTES", "MOST_ENTRIES", "ResultCache"]

MOST_ENTRIES = 20_000
MOST_BYTES = 128 * 2**20
"""What the oldest entries are removed beyond; a file with findings takes some kilobytes."""
_OLDEST = 30 * 24 * 3600
"""Seconds after which an entry that nobody asked for is removed."""
_TOUCHED = 24 * 3600
"""Seconds after which using an entry is noted."""
_SCHEMA = 1
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# What normadvisor knows about files; it can be deleted at any time.\n"


class ResultCache:
    """Results by file, for one setup.

    Args:
        folder: where entries are kept; made when the first is stored.
        setup: what the results depend on beside the files.

    """

    def __init__(self, folder: Path, setup: Setup) -> None:
        self._folder = folder / f"v{_SCHEMA}"
        self._top = folder
        self._setup = setup
        self._began = time.time_ns()
        self._hashes: dict[str, str | None] = {}
        self._listings: dict[str, str] = {}
        self._unusable = False
        self._stored = 0

    @cached_property
    def _key(self) -> str:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return _hashed("\0".join((str(_SCHEMA), __version__, _own_code(), python, setup_key(self._setup))).encode("utf-8", "surrogatepass"))

    def get(self, path: Path) -> FileResult | None:
        """What is known about a file; ``None`` if that is nothing, or no longer true."""
        entry = self._entry(path)
        try:
            with entry.open("rb") as file:
                data = json.load(file)
                age = time.time() - os.fstat(file.fileno()).st_mtime
            if not self._holds(data, path):
                return None
            result = FileResult.from_dict(data["result"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None  # missing, damaged, or not ours
        if age > _TOUCHED:
            with contextlib.suppress(OSError):
                os.utime(entry)
        return result if result.path == path else None

    def put(self, result: FileResult) -> None:
        """Keep what came of a file, unless one of the files involved was changed since the run began."""
        if self._unusable or any(problem.details for problem in result.problems):  # our own mistake is not kept
            return
        paths = [os.path.abspath(result.path), *result.dependencies]  # noqa: PTH100 - links stay as they are
        if any(self._changed(path) for path in paths):
            return
        data = {
            "key": self._key,
            "path": str(result.path),
            "files": {path: self._hash(path) for path in paths},
            "folders": {folder: self._listing(folder) for folder in self._folders_of(paths)},
            "result": result.to_dict(),
        }
        try:
            self._write(self._entry(result.path), json.dumps(data, separators=(",", ":"), default=str))
            self._stored += 1
        except OSError:
            self._unusable = True  # a folder that cannot be written to: without a cache, then

    def close(self) -> None:
        """Remove entries that are old, and the oldest of too many."""
        if not self._stored:
            return
        with contextlib.suppress(OSError):
            with os.scandir(self._folder) as entries:  # closed as well where another run removes an entry meanwhile
                found = sorted(((entry.stat(), entry.path) for entry in entries), key=lambda item: -item[0].st_mtime)
            oldest, size = time.time() - _OLDEST, 0
            for number, (status, path) in enumerate(found):
                size += status.st_size
                leftover = path.endswith(".tmp") and status.st_mtime < time.time() - 3600
                if number >= MOST_ENTRIES or size > MOST_BYTES or status.st_mtime < oldest or leftover:
                    with contextlib.suppress(OSError):
                        os.unlink(path)  # noqa: PTH108 - a text, not a Path

    def _entry(self, path: Path) -> Path:
        name = _hashed(f"{self._key}\0{path}".encode("utf-8", "surrogatepass"))
        return self._folder / f"{name}.json"

    def _holds(self, data: Any, path: Path) -> bool:
        if not isinstance(data, dict) or data["key"] != self._key or data["path"] != str(path):
            return False
        return all(self._hash(file) == known for file, known in data["files"].items()) and all(
            self._listing(folder) == known for folder, known in data["folders"].items()
        )

    def _hash(self, path: str) -> str | None:
        """Hash of a file's contents; each is read once per run."""
        if path not in self._hashes:
            try:
                with open(path, "rb") as file:  # noqa: PTH123 - quick
                    self._hashes[path] = _hashed(file.read())
            except (OSError, ValueError):
                self._hashes[path] = None
        return self._hashes[path]

    def _changed(self, path: str) -> bool:
        try:
            return os.stat(path).st_mtime_ns > self._began  # noqa: PTH116
        except (OSError, ValueError):
            return True

    def _folders_of(self, paths: Iterable[str]) -> list[str]:
        """Folders whose names decide what an import means: those of the files, up to the roots, and the roots."""
        roots = {os.path.abspath(root) for root in self._setup.roots}  # noqa: PTH100
        found = set(roots)
        for path in paths:
            folder = os.path.dirname(path)  # noqa: PTH120
            while folder not in found:
                found.add(folder)
                if not any(folder.startswith(root) for root in roots):
                    break
                folder = os.path.dirname(folder)  # noqa: PTH120
        return sorted(found)

    def _listing(self, folder: str) -> str:
        """Hash of the names in a folder that an import could mean."""
        if folder not in self._listings:
            try:
                with os.scandir(folder) as entries:
                    names = sorted(
                        entry.name for entry in entries if entry.name.endswith(".py") or ("." not in entry.name and entry.is_dir())
                    )
            except OSError:
                names = ["?"]
            ours = {"__pycache__", self._top.name} if folder == os.path.abspath(self._top.parent) else {"__pycache__"}  # noqa: PTH100
            names = [name for name in names if name not in ours]
            self._listings[folder] = _hashed("\0".join(names).encode("utf-8", "surrogatepass"))
        return self._listings[folder]

    def _write(self, path: Path, text: str) -> None:
        if not self._stored:
            self._make()
        beside = f"{path}.{os.urandom(6).hex()}.tmp"
        try:
            with open(beside, "x", encoding="ascii") as file:  # noqa: PTH123
                file.write(text)
            os.replace(beside, path)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)  # noqa: PTH108
            raise

    def _make(self) -> None:
        """Make the folder, with a note for version control and one for backups that it holds nothing of worth."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((".gitignore", "# Made by normadvisor.\n*\n"), ("CACHEDIR.TAG", _TAG)):
            path = self._top / name
            if not path.exists():
                path.write_text(text, encoding="ascii")


def _hashed(data: bytes) -> str:
    from hashlib import blake2b

    return blake2b(data, digest_size=16).hexdigest()


def _own_code() -> str:
    """What tells one state of this program from another between two versions: size and time of its files."""
    package = Path(__file__).parents[2]
    found: list[str] = []
    for name in ("script", "match", "files", "rulebook", "targets", "api"):
        for folder, folders, files in os.walk(package / name):
            folders.sort()
            for file in sorted(files):
                if file.endswith(".py"):
                    status = os.stat(os.path.join(folder, file))  # noqa: PTH116, PTH118
                    found.append(f"{file} {status.st_size} {status.st_mtime_ns}")
    return _hashed("\n".join(found).encode("utf-8", "surrogatepass"))
