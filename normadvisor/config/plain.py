"""Sees at a glance that a configuration table is right, as nearly all are: only one in doubt costs the import of pydantic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from normadvisor.config.settings import Format
from normadvisor.types import PRECISIONS, PROBE_OPTIMIZERS

__all__ = ["LARGEST_COUNT", "LARGEST_RATE", "MODEL_KEYS", "MODEL_PROBE_KEYS", "PROBE_KEYS", "SEEDS", "TABLE_KEYS", "plainly_right"]

LARGEST_COUNT = 1_000_000_000
"""No batch is larger, and nobody takes more steps to measure."""
LARGEST_RATE = 1e6
SEEDS = 1 << 63
"""Seeds that torch takes, from 0."""

_LEVELS = ("info", "warning", "error")


def _name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _names(value: object) -> bool:
    return isinstance(value, list) and all(map(_name, value))


def _some_names(value: object) -> bool:
    return value != [] and _names(value)


def _levels(value: object) -> bool:
    return isinstance(value, dict) and all(map(_name, value)) and all(item in (*_LEVELS, "off") for item in value.values())


def _ignores(value: object) -> bool:
    return isinstance(value, dict) and all(map(_name, value)) and all(map(_names, value.values()))


def _seconds(value: object) -> bool:
    return type(value) in {int, float} and 0 < value <= 86_400  # type: ignore[operator]


def _mebibytes(value: object) -> bool:
    return type(value) is int and 64 <= value <= 1 << 30


def _models(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and "target" in item and _right(item, _MODEL) for item in value)


def _count(value: object) -> bool:
    return type(value) is int and 1 <= value <= LARGEST_COUNT


def _rate(value: object) -> bool:
    return type(value) in {int, float} and 0 < value <= LARGEST_RATE  # type: ignore[operator]


_PROBE: dict[str, Callable[[object], bool]] = {
    "device": _name,
    "steps": _count,
    "optimizer": lambda value: value in PROBE_OPTIMIZERS,
    "lr": _rate,
    "seed": lambda value: type(value) is int and 0 <= value < SEEDS,
    "budget": _seconds,
    "exact": lambda value: type(value) is bool,
    "data": _name,
    "loss": _name,
    "batch_size": _count,
    "precision": lambda value: value in PRECISIONS,
}
PROBE_KEYS: tuple[str, ...] = tuple(_PROBE)
"""Keys of the table ``probe``."""
MODEL_PROBE_KEYS: tuple[str, ...] = tuple(key for key in _PROBE if key not in {"batch_size", "precision"})
"""Those that a model's own table may hold; batch size and precision are part of its context there."""


def _probe(value: object) -> bool:
    return isinstance(value, dict) and _right(value, _PROBE)


_MODEL: dict[str, Callable[[object], bool]] = {
    "target": _name, "inputs": _names, **{key: _PROBE[key] for key in MODEL_PROBE_KEYS}
}  # fmt: skip
_TABLE: dict[str, Callable[[object], bool]] = {
    "select": _some_names,
    "ignore": _names,
    "extend_select": _names,
    "severity": _levels,
    "per_file_ignores": _ignores,
    "rules": _names,
    "exclude": _names,
    "baseline": _name,
    "cache_dir": _name,
    "fail_on": lambda value: value in _LEVELS,
    "format": lambda value: value in get_args(Format),
    "timeout": _seconds,
    "memory": _mebibytes,
    "models": _models,
    "probe": _probe,
}
TABLE_KEYS: tuple[str, ...] = tuple(_TABLE)
MODEL_KEYS: tuple[str, ...] = tuple(_MODEL)


def _right(table: Mapping[str, Any], checks: Mapping[str, Callable[[object], bool]]) -> bool:
    return all(name in checks and checks[name](value) for name, value in table.items())


def plainly_right(table: Mapping[str, Any]) -> bool:
    """Whether a table whose keys are spelled with ``_`` holds nothing that the schema could object to."""
    return _right(table, _TABLE)
