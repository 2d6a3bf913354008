"""Numbers that no weight can take up."""

from __future__ import annotations

import torch
from torch import nn

from normadvisor.optimization.folding.affine import Affine
from normadvisor.optimization.folding.arithmetic import scale_and_shift
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["unsound"]


def unsound(module: nn.Module, affine: Affine) -> str:
    """Why the numbers of a norm cannot be folded: not finite, or a negative variance; empty if they can."""
    values = {role: getattr(module, attribute) for role, attribute in affine.roles.items()}
    try:
        with torch.no_grad():
            scale_and_shift(values, {"channels": affine.channels, "eps": affine.eps})
    except CannotChange as refused:
        return refused.reason
    return ""
