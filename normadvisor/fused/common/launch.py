"""Launch parameters of kernels: tables that a benchmark on a GPU may refine through JSON, without touching code.

Each kernel family registers a table of named regimes. ``NORMADVISOR_LAUNCHES`` may name a JSON file
``{"group_norm.whole": {"tile": 8192, "num_warps": 8}, ...}`` that replaces single numbers of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

__all__ = ["ENVIRONMENT", "Launch", "all_launches", "launch", "load_launches", "overridden", "register_launches"]

ENVIRONMENT = "NORMADVISOR_LAUNCHES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one kernel is launched in one regime. A kernel reads the fields that it has a use for."""

    tile: int
    """Elements that a program holds in registers at a time; a power of two."""
    num_warps: int
    """A power of two."""
    num_stages: int = 1
    """Depth of software pipelining of its loops."""
    programs: int = 8
    """Programs for each multiprocessor that a split reduction aims at: more of them balance better, and leave more partial results."""
    limit: int = 0
    """Largest size for which the regime is taken; its unit is said where the regime is registered."""


_tables: dict[str, Launch] = {}
_overrides: dict[str, Mapping[str, int]] = {}
_loaded: dict[str, bool] = {}


def register_launches(family: str, table: Mapping[str, Launch]) -> None:
    """Make the regimes of a kernel family known as ``FAMILY.REGIME``."""
    _tables.update({f"{family}.{regime}": parameters for regime, parameters in table.items()})


def launch(name: str) -> Launch:
    """Give the parameters of a registered regime, with what was overridden.

    Raises:
        KeyError: there is no such regime.
        ValueError: the file that ``NORMADVISOR_LAUNCHES`` names is not a table of regimes.
        OSError: it cannot be read.

    """
    if not _loaded:
        _loaded["environment"] = True
        if os.environ.get(ENVIRONMENT):
            load_launches(Path(os.environ[ENVIRONMENT]))
    found = _tables[name]
    return replace(found, **_overrides[name]) if name in _overrides else found


def all_launches() -> dict[str, dict[str, int]]:
    """Give every regime of the families imported so far, as JSON."""
    return {name: asdict(launch(name)) for name in sorted(_tables)}


def load_launches(path: Path) -> None:
    """Take the numbers of a JSON file for the rest of the process.

    Raises:
        ValueError: it is not a table of regimes.
        OSError: it cannot be read.

    """
    try:
        _overrides.update(_checked(json.loads(path.read_text(encoding="utf-8"))))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@contextmanager
def overridden(changes: Mapping[str, Mapping[str, int]]) -> Iterator[None]:
    """Take other numbers inside the ``with``.

    Raises:
        ValueError: a name or a number is not one.

    """
    before = dict(_overrides)
    for name, values in _checked(changes).items():
        _overrides[name] = {**_overrides.get(name, {}), **values}
    try:
        yield
    finally:
        _overrides.clear()
        _overrides.update(before)


def _checked(data: object) -> dict[str, Mapping[str, int]]:
    known = {field.name for field in fields(Launch)}
    if not isinstance(data, Mapping):
        raise ValueError(f"expected a mapping of regimes, got {type(data).__name__}")  # noqa: TRY004 (the file is what is wrong)
    for name, values in data.items():
        if not isinstance(name, str) or not isinstance(values, Mapping):
            raise ValueError(f"expected a mapping for regime {name!r}")  # noqa: TRY004 (as above)
        for key, value in values.items():
            if key not in known:
                raise ValueError(f"regime {name!r} has no parameter {key!r}: expected {', '.join(sorted(known))}")
            if type(value) is not int or value < 0:
                raise ValueError(f"{name}.{key} must be a whole number, got {value!r}")
            if key in {"tile", "num_warps"} and (value == 0 or value & (value - 1)):
                raise ValueError(f"{name}.{key} must be a power of two, got {value}")
    return dict(data)
