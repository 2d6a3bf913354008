"""Numbers that no weight can take up, or not without losing digits."""

from __future__ import annotations

import torch

from normadvisor.optimization.folding.arithmetic import scale_and_shift
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.scaling import Affine
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["magnified", "unsound"]

_MOST = 2.0
"""How much larger the values that a layer adds up may become. Measured in float32 on 976 pairs of a batch norm and a layer behind it, with
16 to 2048 channels and inputs of the running statistics: up to 2 no fold had more than twice the error of the pair (or 8 units in the last
place of the largest output), from 2 to 2.5 every 35th, from 3.5 on most, and the errors go on growing with it."""


def unsound(flow: Flow, affine: Affine) -> str:
    """Why the numbers of a norm cannot be folded: not finite, or a negative variance; empty if they can."""
    values = {role: held for role, key in affine.roles.items() if (held := flow.tensor(key)) is not None}
    try:
        with torch.no_grad():
            scale_and_shift(values, {"channels": affine.channels, "eps": affine.eps})
    except CannotChange as refused:
        return refused.reason
    return ""


def magnified(flow: Flow, affine: Affine) -> str:
    """Why a layer behind a norm would lose digits by taking it up; empty if it would not.

    Where the values lie far from zero for their spread, the norm takes the mean off before the layer multiplies and adds. Folded, the layer
    adds up values as large as the mean, and a bias takes it off in the end. Of inputs with the running statistics the mean square of what
    the layer adds up is ``weight^2 var / (var + eps) + bias^2`` before and ``weight^2 (mean^2 + var) / (var + eps)`` after.
    """
    if "norm.mean" not in affine.roles or "norm.var" not in affine.roles:
        return ""
    held = {role: tensor.detach().reshape(-1).double() for role, key in affine.roles.items() if (tensor := flow.tensor(key)) is not None}
    mean, var = held["norm.mean"], held["norm.var"]
    if mean.is_meta:
        return ""
    gain = held.get("norm.weight", torch.ones_like(var)).square() / (var + affine.eps)
    before = gain * var + held.get("norm.bias", torch.zeros_like(var)).square()
    after = gain * (mean.square() + var)
    if float(after.sum()) <= _MOST**2 * float(before.sum()):
        return ""
    times = float((after.sum() / before.sum()).sqrt())
    return f"its running mean is so large that the layer behind it would add up values {times:.0f} times as large, and lose digits by that"
