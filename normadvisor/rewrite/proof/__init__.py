"""Whether a changed model computes what the original did: outputs, gradients and buffers, compared in double precision.

Names are loaded on first use: :class:`Proof` is plain data that a process without torch may hold.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.rewrite.proof.alignment import align
    from normadvisor.rewrite.proof.outside import unchanged
    from normadvisor.rewrite.proof.proving import prove
    from normadvisor.rewrite.proof.result import Proof

__all__ = ["Proof", "align", "prove", "unchanged"]

_HOMES = {"Proof": "result", "align": "alignment", "prove": "proving", "unchanged": "outside"}


def __getattr__(name: str) -> Any:
    """Import the part of the package that defines ``name``."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    # Written into the namespace, since importing the submodule has just put the module under that very name.
    globals()[name] = value
    return value
