"""Rules that were read and checked once, kept as JSON in the user's cache folder, so that the next run neither parses nor checks YAML.

What is kept is found by the content of the rule files and of this package's own source; anything else than what was written is a miss. The
file holds plain data: a damaged one is rebuilt, and nothing in it can be run.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from normadvisor.rulebook.construct import IrregularError, construct
from normadvisor.rulebook.model import Rule

__all__ = ["FOLDER_VARIABLE", "cache_folder", "keep_rules", "kept_rules", "key_of"]

FOLDER_VARIABLE = "NORMADVISOR_CACHE_DIR"
"""Environment variable that names the cache folder; empty: nothing is kept."""
_FORMAT = "1"
_PREFIX = "rules-"
_MOST_FILES = 8
"""Older files are removed."""
_MOST_BYTES = 256 * 1024
"""Larger files are no rules; the loader says so."""
_UNREADABLE = (OSError, ValueError, RecursionError)


def cache_folder() -> Path | None:
    """Folder for what can be rebuilt; ``None`` when the user wants none."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    from platformdirs import user_cache_path  # noqa: PLC0415  # not needed where the folder is named

    return user_cache_path("normadvisor", appauthor=False)


def key_of(paths: Iterable[Path]) -> str | None:
    """Name for the rules of some files by what they hold; ``None`` when a file cannot be read."""
    digest = hashlib.sha256(f"{_FORMAT}\n{sys.version_info[:2]}\n{_own_state()}\n".encode())
    try:
        for path in paths:
            with path.open("rb", buffering=0) as file:
                content = file.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                return None
            digest.update(f"{path}\n{len(content)}\n".encode("utf-8", "surrogateescape"))
            digest.update(content)
    except _UNREADABLE:
        return None
    return digest.hexdigest()[:32]


def _own_state() -> str:
    """What this package's checks are: its files by time and size, since a checkout changes without a new version."""
    here = Path(__file__).parent
    entries = []
    for folder in (here, here.parent / "types"):
        with suppress(OSError), os.scandir(folder) as found:
            entries += [f"{folder}/{entry.name}:{_stamp(entry)}" for entry in found if entry.name.endswith(".py")]
    return "\n".join(sorted(entries))


def _stamp(entry: os.DirEntry[str]) -> str:
    state = entry.stat()
    return f"{state.st_mtime_ns}:{state.st_size}"


def kept_rules(key: str) -> list[Rule] | None:
    """The rules that were kept under a key; ``None`` if there are none, or they are damaged."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        with (folder / f"{_PREFIX}{key}.json").open("rb") as file:
            data = json.loads(file.read())
        return [construct(Rule, item) for item in data] if isinstance(data, list) else None
    except (*_UNREADABLE, IrregularError):
        return None


def keep_rules(key: str, rules: Sequence[Rule]) -> None:
    """Keep rules under a key; a folder that cannot be written is no mistake of the user."""
    folder = cache_folder()
    if folder is None:
        return
    import tempfile  # noqa: PLC0415  # rarely needed, and slow to import

    text = json.dumps([asdict(rule) for rule in rules], ensure_ascii=False, separators=(",", ":"))
    with suppress(*_UNREADABLE):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=_PREFIX, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).replace(folder / f"{_PREFIX}{key}.json")
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        _prune(folder)


def _prune(folder: Path) -> None:
    """Leave the newest files."""
    files = sorted(folder.glob(f"{_PREFIX}*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[_MOST_FILES:]:
        with suppress(OSError):
            path.unlink()
