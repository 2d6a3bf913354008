"""The run context as people write it: in the configuration, in a pragma, in a rule's example, as flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from normadvisor.config.suggest import did_you_mean, quoted_list
from normadvisor.config.wording import one_line, value_text
from normadvisor.errors import ConfigError
from normadvisor.types import DISTRIBUTED, LOSSES, PRECISIONS, TASKS, RunContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from normadvisor.types import Location

    Locate: TypeAlias = Callable[[str], Location | None]

__all__ = ["CONTEXT_KEYS", "parse_context"]

_CHOICES: dict[str, tuple[str, ...]] = {"task": TASKS, "loss": LOSSES, "precision": PRECISIONS, "distributed": DISTRIBUTED}
_COUNTS = ("batch_size", "world_size")
_FLAGS = ("fine_tune",)
_TRUTH = {"true": True, "false": False}
_LARGEST = 1_000_000_000
"""No batch and no cluster is larger; keeps arithmetic in rules small."""

CONTEXT_KEYS: tuple[str, ...] = ("batch_size", "task", "loss", "precision", "world_size", "distributed", "fine_tune")
"""The keys, in the order they are documented; ``-`` may stand for ``_``."""


def parse_context(mapping: Mapping[str, Any], location: Location | None = None, *, locate: Locate | None = None) -> RunContext:
    """Read a run context.

    Numbers and truth values may be given as text (``"2"``, ``"true"``), since a comment and a command line hold nothing else. A
    value of ``None`` means unknown.

    Args:
        mapping: :data:`CONTEXT_KEYS` and their values.
        location: where the mapping stands, for errors.
        locate: place of one key of ``mapping``, where that is known more exactly than ``location``.

    Raises:
        ConfigError: an unknown key, a key given twice, or a value out of range; says what would be right.

    """
    known: dict[str, Any] = {}
    for written, value in mapping.items():
        place = (locate(written) if locate else None) or location
        key = str(written).replace("-", "_")
        if key not in CONTEXT_KEYS:
            name = one_line(str(written))
            raise ConfigError(f"unknown context key '{name}'", location=place, hint=did_you_mean(str(written), CONTEXT_KEYS))
        if key in known:
            raise ConfigError(f"'{key}' is given twice", location=place)
        if value is not None:
            known[key] = _value(key, value, place)
    return RunContext(**known)


def _value(key: str, value: Any, place: Location | None) -> Any:
    if key in _CHOICES:
        return _choice(key, value, place)
    if key in _COUNTS:
        return _count(key, value, place)
    return _flag(key, value, place)


def _choice(key: str, value: Any, place: Location | None) -> str:
    names = _CHOICES[key]
    if isinstance(value, str) and value in names:
        return value
    hint = did_you_mean(value, names) if isinstance(value, str) else f"one of {quoted_list(names)}"
    raise ConfigError(f"'{key}' cannot be {value_text(value)}", location=place, hint=hint)


def _count(key: str, value: Any, place: Location | None) -> int:
    # Length before int(): Python refuses to read very long digit strings with an error of its own.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(_LARGEST)):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST:
        return value
    raise ConfigError(f"'{key}' cannot be {value_text(value)}", location=place, hint=f"a whole number from 1 to {_LARGEST}")


def _flag(key: str, value: Any, place: Location | None) -> bool:
    if isinstance(value, str):
        value = _TRUTH.get(value.lower(), value)
    if isinstance(value, bool):
        return value
    raise ConfigError(f"'{key}' cannot be {value_text(value)}", location=place, hint="true or false")
