"""Numbers that no weight can take up."""

from __future__ import annotations

import torch

from normadvisor.optimization.folding.arithmetic import scale_and_shift
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.scaling import Affine
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["unsound"]


def unsound(flow: Flow, affine: Affine) -> str:
    """Why the numbers of a norm cannot be folded: not finite, or a negative variance; empty if they can."""
    values = {role: held for role, key in affine.roles.items() if (held := flow.tensor(key)) is not None}
    try:
        with torch.no_grad():
            scale_and_shift(values, {"channels": affine.channels, "eps": affine.eps})
    except CannotChange as refused:
        return refused.reason
    return ""
