"""Findings that do not count: silenced in the code, in the configuration, or known since the baseline was written.

The names are imported on first use: most runs have no baseline.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.suppress.baseline import Baseline, BaselineEntry, BaselineResult
    from normadvisor.suppress.noqa import NoqaResult, apply_noqa
    from normadvisor.suppress.per_file import apply_per_file_ignores

__all__ = ["Baseline", "BaselineEntry", "BaselineResult", "NoqaResult", "apply_noqa", "apply_per_file_ignores"]

_HOMES = {
    "Baseline": "baseline",
    "BaselineEntry": "baseline",
    "BaselineResult": "baseline",
    "NoqaResult": "noqa",
    "apply_noqa": "noqa",
    "apply_per_file_ignores": "per_file",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
