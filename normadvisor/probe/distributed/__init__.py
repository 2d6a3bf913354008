"""Probing in several processes at once: what they agree on, add up, and tell of each other.

Names are loaded on first use: what runs alone imports nothing of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from normadvisor.probe.distributed.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from normadvisor.probe.distributed.live import live_ranks
    from normadvisor.probe.distributed.meeting import announce, join, rank_device

__all__ = ["ALONE", "Ranks", "announce", "join", "live_ranks", "rank_device"]


def __getattr__(name: str) -> Any:
    """Import what makes processes meet."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{'live' if name == 'live_ranks' else 'meeting'}"), name)
