"""From a module and its inputs to a :class:`~normadvisor.graph.model.ModelGraph`.

Names are resolved on first use, so that importing :mod:`normadvisor.graph.model` alone does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph, ModuleInfo, NodeInfo
    from normadvisor.graph.table import render_table
    from normadvisor.graph.trace import look_for_written, trace

__all__ = ["ModelGraph", "ModuleInfo", "NodeInfo", "look_for_written", "render_table", "trace"]

_HOMES = {
    "ModelGraph": "model",
    "ModuleInfo": "model",
    "NodeInfo": "model",
    "look_for_written": "trace",
    "render_table": "table",
    "trace": "trace",
}


def __getattr__(name: str) -> Any:
    """Import the part of the package that defines ``name``."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    home = import_module(f"{__name__}.{_HOMES[name]}")
    # Written into the namespace, since importing the submodule `trace` has just put the module under that very name.
    for public, module in _HOMES.items():
        if module == _HOMES[name]:
            globals()[public] = getattr(home, public)
    return globals()[name]
