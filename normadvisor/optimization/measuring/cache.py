"""Ratios measured on this machine before."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from normadvisor.files.replace import replace_file
from normadvisor.rulebook.store import cache_folder
from normadvisor.types.optimization import Ratio

__all__ = ["RatioCache"]

_FILE = "optimize-ratios.json"
_SCHEMA = 1
_MOST = 20_000
"""Ratios that are kept; the oldest go first."""
_MOST_BYTES = 64 * 2**20


class RatioCache:
    """Ratios by what was measured, in one file that several runs may share.

    Entries hold for a device, a number of threads and the versions of torch and of this program, all of which are part of the key.

    Args:
        folder: where the file is kept; nothing is read or kept when ``None``.

    """

    def __init__(self, folder: Path | None) -> None:
        self.notes: list[str] = []
        """What was wrong with the file."""
        self._path = None if folder is None else folder / _FILE
        self._known: dict[str, Ratio] = {}
        self._new: dict[str, Ratio] = {}
        if self._path is not None:
            self._known = self._read(self._path)

    @classmethod
    def of_user(cls) -> RatioCache:
        """The one of this user, in the folder that the system has for such files, or that ``NORMADVISOR_CACHE_DIR`` names."""
        return cls(cache_folder())

    def get(self, key: str) -> Ratio | None:
        """What was measured in an earlier run, or in this one."""
        return self._new.get(key) or self._known.get(key)

    def put(self, key: str, ratio: Ratio) -> None:
        """Remember a ratio; it is written by :meth:`save`."""
        self._new[key] = ratio

    def save(self) -> None:
        """Write what is new into the file, with what other runs have put there meanwhile. A file that cannot be written is no error."""
        if self._path is None or not self._new:
            return
        values = {key: ratio.to_dict() for key, ratio in (self._read(self._path, quiet=True) | self._new).items()}
        kept = dict(list(values.items())[-_MOST:])
        data = json.dumps({"schema": _SCHEMA, "ratios": kept}, indent=0).encode("ascii")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, data)
            self._new.clear()

    def _read(self, path: Path, *, quiet: bool = False) -> dict[str, Ratio]:
        try:
            with path.open("rb") as file:
                data = json.loads(file.read(_MOST_BYTES))
            if data["schema"] != _SCHEMA:
                return {}
            return {str(key): _ratio(value) for key, value in data["ratios"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if not quiet:
                self.notes.append(f"{path} cannot be read ({type(error).__name__}), so everything is measured anew")
            return {}


def _ratio(data: Mapping[str, Any]) -> Ratio:
    """A stored ratio.

    Raises:
        KeyError, TypeError, ValueError: it is none.

    """
    numbers = [float(data[name]) for name in ("median", "low", "high", "before", "after")]
    if not all(math.isfinite(number) and number > 0 for number in numbers) or not isinstance(data["pairs"], int):
        raise ValueError(data)
    return Ratio.from_dict({**data, "cached": True})
