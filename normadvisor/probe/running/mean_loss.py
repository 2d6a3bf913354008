"""Tells whether a loss that somebody else computed is the mean cross entropy of scores and classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["recognised_classes"]


def recognised_classes(value: Tensor, scores: Tensor, target: Tensor) -> int | None:
    """Number of classes if a loss is the mean cross entropy of scores and integer targets, next tokens included; else ``None``."""
    candidates: list[Callable[[], Tensor]] = []
    if scores.ndim == target.ndim + 1 and scores.shape[0] == target.shape[0]:
        candidates.append(lambda: F.cross_entropy(scores.float(), target))
        if scores.shape[:-1] == target.shape:
            candidates.append(lambda: F.cross_entropy(scores.float().movedim(-1, 1), target))
            if scores.ndim == 3 and scores.shape[1] > 1:
                candidates.append(lambda: F.cross_entropy(scores[:, :-1].float().movedim(-1, 1), target[:, 1:]))
        candidates.append(lambda: F.nll_loss(scores.float(), target))
    with torch.no_grad():
        for number, candidate in enumerate(candidates):
            try:
                same = torch.allclose(candidate(), value.float(), rtol=1e-3, atol=1e-6)
            except (RuntimeError, IndexError, ValueError):
                continue
            if same:
                last = scores.ndim > 2 and scores.shape[:-1] == target.shape and 0 < number < len(candidates) - 1
                return int(scores.shape[-1 if last else 1])
    return None
