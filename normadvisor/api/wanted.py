"""How a model is to be measured: what the command line says over what the configuration says. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from normadvisor.api.job import Probing
from normadvisor.config import ModelConfig, Settings
from normadvisor.errors import ConfigError, NormAdvisorError, TargetError, UsageError
from normadvisor.targets.parse import WHAT_TARGETS_ARE, Target, TargetKind, parse_target
from normadvisor.types import LOSSES, Location, ProbeOptions
from normadvisor.types.optimization import OptimizeOptions
from normadvisor.types.words import nearest

__all__ = [
    "DEFAULT_BUDGET",
    "OPTIMIZE_BUDGET",
    "function_target",
    "is_function",
    "optimizing_seconds",
    "wanted_budget",
    "wanted_probing",
]

DEFAULT_BUDGET = 60.0
"""Seconds for measuring a model where nobody says how many."""
OPTIMIZE_BUDGET = 120.0
"""Seconds for all measurements of a model that is optimized, where nobody says how many."""
_BEYOND = 3.0
"""How often that budget goes into the time after which optimizing is ended from outside: a busy machine is waited for."""
_PROVING = 5.0
"""Times the limit of one model for what is proven, which no budget counts."""
_COMPILING = 900.0
"""Seconds for compiling twice; large models take minutes."""


def wanted_probing(flags: Mapping[str, Any], entry: ModelConfig | None, settings: Settings, cwd: Path) -> Probing:
    """How one model is to be measured.

    Args:
        flags: fields of :class:`ProbeOptions` from the command line.
        entry: the model's table in the configuration.
        settings: the configuration.
        cwd: folder that files of flags are relative to; those of the configuration are to the configuration.

    Raises:
        NormAdvisorError: a function or a loss of the configuration does not exist.

    """
    entry_values = entry.probe if entry is not None else {}
    given: dict[str, Any] = {"budget": DEFAULT_BUDGET, **settings.probe, **entry_values, **flags}
    found: dict[str, Target | None] = {}
    for name in ("data", "loss"):
        text = given.get(name)
        found[name] = None
        if text is None or (name == "loss" and not is_function(text)):
            if text is not None and text not in LOSSES:
                raise ConfigError(f"'loss' cannot be '{text}'", location=settings.locations.get("probe.loss"), hint=_loss_hint(text))
            continue
        if name in flags:
            found[name] = function_target(f"--{name}", text, cwd)
            continue
        place = entry.location if entry is not None and name in entry_values else settings.locations.get(f"probe.{name}")
        found[name] = function_target(f"'{name}'", text, settings.root, place)
    return Probing(options=ProbeOptions(**given), data=found["data"], loss=found["loss"])


def is_function(text: str) -> bool:
    """Whether a loss is a function of the user's rather than a name."""
    return ":" in text


def _loss_hint(text: str) -> str:
    return nearest(text, LOSSES) or f"one of {', '.join(LOSSES)}, or module:function"


def function_target(name: str, text: str, cwd: Path, location: Location | None = None) -> Target:
    """The function that a flag or a key names.

    Args:
        name: the flag or key, for messages.
        text: ``module:function`` or ``file.py:function``, perhaps called with literals.
        cwd: folder that files are relative to.
        location: where the key stands.

    Raises:
        UsageError, ConfigError: there is no such file, or no function is named.

    """
    kind: type[NormAdvisorError] = UsageError if location is None else ConfigError
    hint = f"{name} takes module:function or file.py:function"
    try:
        target = parse_target(text, cwd)
    except TargetError as error:
        of_targets = error.hint in {None, WHAT_TARGETS_ARE} or ":" not in text
        raise kind(f"{name}: {error.message}", location=location, hint=hint if of_targets else error.hint) from error
    if target.kind is not TargetKind.OBJECT:
        raise kind(f"{name}: '{text}' names no function", location=location, hint=hint)
    if target.path is not None and target.path.suffix == ".ipynb":
        raise kind(f"{name}: what a notebook defines cannot be imported", location=location, hint="write the function into a .py file")
    return target


def wanted_budget(flags: Mapping[str, Any], settings: Settings) -> float:
    """The most seconds that measuring any of the models may take."""
    if flags.get("budget") is not None:
        return float(flags["budget"])
    default = float(settings.probe.get("budget", DEFAULT_BUDGET))
    return max([default, *(float(entry.probe["budget"]) for entry in settings.models if "budget" in entry.probe)])


def optimizing_seconds(options: OptimizeOptions, timeout: float) -> float:
    """Seconds after which optimizing a model is ended from outside.

    Args:
        options: with the budget for measuring.
        timeout: seconds that one model may take for everything else.

    """
    budget = OPTIMIZE_BUDGET if options.budget is None else options.budget
    return _BEYOND * budget + _PROVING * timeout + (_COMPILING if options.compile else 0.0)
