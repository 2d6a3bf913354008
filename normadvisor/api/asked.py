"""What callers from Python say about a measurement, sorted into what it is for. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from normadvisor.api.wanted import is_function
from normadvisor.config import parse_context
from normadvisor.config.context import CONTEXT_KEYS
from normadvisor.config.plain import SEEDS
from normadvisor.errors import ConfigError, UsageError
from normadvisor.types import LOSSES, PRECISIONS, PROBE_OPTIMIZERS, ProbeOptions, RunContext
from normadvisor.types.words import nearest

__all__ = ["Asked", "asked", "check_values"]

_FIELDS = tuple(field.name for field in fields(ProbeOptions))
_BOTH = frozenset({"batch_size", "loss", "precision"})


@dataclass(frozen=True, slots=True)
class Asked:
    """The two things that options are about."""

    probing: dict[str, Any]
    """Some fields of :class:`ProbeOptions`."""
    context: RunContext


def asked(options: Mapping[str, Any]) -> Asked:
    """Sort options: ``batch_size``, ``loss`` and ``precision`` say how to measure as well as how the model is trained.

    Raises:
        UsageError: an unknown option, or a value out of range.

    """
    known = dict.fromkeys((*_FIELDS, *CONTEXT_KEYS))
    for name in options:
        if name not in known:
            raise UsageError(f"unknown option '{name}'", hint=nearest(name, known) or f"one of {', '.join(known)}")
    probing = {name: value for name, value in options.items() if name in _FIELDS and value is not None}
    check_values(probing)
    said = {name: value for name, value in options.items() if name in CONTEXT_KEYS and (name not in _BOTH or name in probing)}
    if isinstance(said.get("loss"), str) and is_function(said["loss"]):
        del said["loss"]
    try:
        context = parse_context(said)
    except ConfigError as error:
        raise UsageError(error.message, hint=error.hint) from error
    if context.per_device_batch is not None and "batch_size" in probing:
        probing["batch_size"] = context.per_device_batch
    return Asked(probing, context)


def check_values(probing: Mapping[str, Any], prefix: str = "", dash: str = "_") -> None:
    """See whether fields of :class:`ProbeOptions` have values that make sense.

    Args:
        probing: the fields.
        prefix: what stands before their names in messages: ``--`` on the command line.
        dash: what joins the words of a name there.

    Raises:
        UsageError: one has not.

    """
    for name, (right, hint) in _CHECKS.items():
        value = probing.get(name)
        if value is not None and not right(value):
            shown = repr(value)
            near = nearest(value, _CHOICES[name]) if name in _CHOICES and isinstance(value, str) else None
            message = f"{prefix}{name.replace('_', dash)} cannot be {shown if len(shown) <= _LONG else shown[: _LONG - 3] + '...'}"
            raise UsageError(message, hint=near or hint)


_LONG = 60
"""Characters of a wrong value that are repeated."""


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10**9


def _seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < SEEDS


_CHOICES: dict[str, tuple[str, ...]] = {"optimizer": PROBE_OPTIMIZERS, "loss": LOSSES, "precision": PRECISIONS}
_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(("steps", "batch_size", "memory"), (_whole, "a whole number above 0")),
    **dict.fromkeys(("lr", "budget"), (_number, "a number above 0")),
    "seed": (_seed, "a whole number from 0 to 2**63 - 1"),
    **dict.fromkeys(("exact", "static_only"), (lambda value: isinstance(value, bool), "true or false")),
    **dict.fromkeys(("device", "data"), (lambda value: isinstance(value, str) and value != "", "text")),
    "optimizer": (lambda value: value in PROBE_OPTIMIZERS, f"one of {', '.join(PROBE_OPTIMIZERS)}"),
    "precision": (lambda value: value in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
    "loss": (
        lambda value: isinstance(value, str) and (value in LOSSES or is_function(value)),
        f"one of {', '.join(LOSSES)}, or module:function",
    ),
}
"""What is right, and how to say it."""
