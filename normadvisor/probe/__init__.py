"""What a model does in training, measured: gradients, activations and statistics of every layer, while nothing of the model changes.

Names are loaded on first use: a process without torch may import this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.probe.keeping.keep import Kept, kept
    from normadvisor.probe.recording.recorder import Recorder
    from normadvisor.probe.running.run import probe_model

__all__ = ["Kept", "Recorder", "kept", "probe_model"]

_HOMES = {"Kept": "keeping.keep", "Recorder": "recording.recorder", "kept": "keeping.keep", "probe_model": "running.run"}


def __getattr__(name: str) -> Any:
    """Import the part of the package that defines ``name``."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
