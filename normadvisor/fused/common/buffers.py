"""Where fused operations get memory for outputs and partial results: one place, so that tests can put guard bands around all of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["empty", "empty_like"]


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Give an uninitialised contiguous tensor."""
    return torch.empty(tuple(shape), dtype=dtype, device=device)


def empty_like(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Give an uninitialised tensor of the shape and strides of ``like``, which has no gaps."""
    return torch.empty_like(like, dtype=dtype)
