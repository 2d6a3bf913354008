"""Rules against a traced model or against the events of a script: every event becomes one finding.

The names are imported on first use, so that checking scripts does not pay for what graphs need. Nothing here imports torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.match.engine import match
    from normadvisor.match.script import match_script

__all__ = ["match", "match_script"]

_HOMES = {"match": "engine", "match_script": "script"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
