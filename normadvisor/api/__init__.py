"""Checks and mends targets from Python: what the command line calls, and what a notebook or a test may call.

Names are loaded on first use, so that importing a part of the package costs that part only. Nothing here imports torch before a model
in this very process is checked; models named by text are loaded in worker processes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.api.check import check
    from normadvisor.api.fix import convert, fix
    from normadvisor.api.progress import Progress
    from normadvisor.api.sources import SourceJob, check_source, check_sources

__all__ = ["Progress", "SourceJob", "check", "check_source", "check_sources", "convert", "fix"]

_HOMES = {
    "check": "check",
    "convert": "fix",
    "fix": "fix",
    "Progress": "progress",
    "SourceJob": "sources",
    "check_source": "sources",
    "check_sources": "sources",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    home = import_module(f"{__name__}.{_HOMES[name]}")
    # Written into the namespace: importing the submodule `check` has just put the module under the function's name.
    for public, module in _HOMES.items():
        if module == _HOMES[name]:
            globals()[public] = getattr(home, public)
    return globals()[name]


def __dir__() -> list[str]:
    return __all__
