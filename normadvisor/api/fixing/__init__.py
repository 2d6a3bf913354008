"""Mends what a check found, in the source: each fix is tried in worker processes before anything is written, and taken back if it fails.

Nothing here imports torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.api.fixing.choices import (
        Applied,
        Candidate,
        Choice,
        FixOptions,
        FixRun,
        Proven,
        RolledBack,
        Skipped,
        Trial,
    )
    from normadvisor.api.fixing.fixer import Fixer

__all__ = ["Applied", "Candidate", "Choice", "FixOptions", "FixRun", "Fixer", "Proven", "RolledBack", "Skipped", "Trial"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{'fixer' if name == 'Fixer' else 'choices'}"), name)


def __dir__() -> list[str]:
    return __all__
