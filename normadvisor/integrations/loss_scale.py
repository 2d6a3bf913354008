"""The factor that a gradient scaler of mixed precision puts on the loss, so that it can be taken off what was measured."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch

__all__ = ["calling_scaler", "scale_of"]

_DEPTH = 12
"""Calls between a scaler's ``step`` and the hook of an optimizer at most: wrappers of optimizers, schedulers and profilers."""


def calling_scaler() -> Any:
    """The ``GradScaler`` in whose ``step`` the caller runs; ``None`` where there is none.

    A scaler leaves no trace on the model or the optimizer, only on the stack.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the stack
    for _ in range(_DEPTH):
        if frame is None:
            return None
        holder = frame.f_locals.get("self") if frame.f_code.co_name in ("step", "_maybe_opt_step") else None
        if isinstance(holder, torch.amp.GradScaler):
            return holder
        frame = frame.f_back
    return None


def scale_of(scaler: Any) -> float:
    """The factor that is on losses now; 1 without a scaler, or where it is switched off."""
    return float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else 1.0
