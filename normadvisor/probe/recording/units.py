"""Which axis of an output holds its units, where an activation is flat, and which units are dead."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from normadvisor.probe.recording.layers import Layer

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Flat", "alike_units", "dead_units", "flat_parts", "function_flat_parts", "unit_axis"]

_SECOND = frozenset({"conv", "conv_transpose", "batch_norm", "instance_norm", "group_norm", "local_response_norm", "prelu"})
"""Operations whose channels are axis 1 of a batch."""
_LAST = frozenset({"linear", "embedding", "layer_norm", "rms_norm", "attention", "rnn", "lstm", "gru"})


@dataclass(frozen=True, slots=True)
class Flat:
    """Where an activation is flat: its derivative there is below 2 % of its largest.

    For ``tanh`` that is an output beyond ±0.99, which Karpathy ("Building makemore, part 3") draws as saturated; for the others it is the
    same share of their own slope. Piecewise linear functions are flat exactly at their bounds.
    """

    low: float = -math.inf
    """Outputs up to here are flat."""
    high: float = math.inf
    """Outputs from here on are flat."""
    saturates: bool = False
    """Being there counts as saturated; a ReLU at zero does not, it only may be dead."""
    zero: bool = False
    """Only an output that is exactly zero is flat: the function dips below zero before it gets there."""


_SLOPE = 0.02


def _sigmoid_edge() -> float:
    """Smallest ``y`` where ``y (1 - y)`` is the share of its maximum, 1/4."""
    return (1 - math.sqrt(1 - _SLOPE)) / 2


_TANH = math.sqrt(1 - _SLOPE)
_SOFTSIGN = 1 - math.sqrt(_SLOPE)
_SELU = 1.0507009873554805 * 1.6732632423543772

_FIXED: dict[str, Flat] = {
    "relu": Flat(low=0.0),
    "relu6": Flat(low=0.0, high=6.0),
    "threshold": Flat(zero=True),
    "gelu": Flat(zero=True),
    "hardswish": Flat(zero=True),
    "softshrink": Flat(zero=True),
    "hardshrink": Flat(zero=True),
    "tanh": Flat(-_TANH, _TANH, saturates=True),
    "sigmoid": Flat(_sigmoid_edge(), 1 - _sigmoid_edge(), saturates=True),
    "hardsigmoid": Flat(0.0, 1.0, saturates=True),
    "softsign": Flat(-_SOFTSIGN, _SOFTSIGN, saturates=True),
    "selu": Flat(low=-_SELU * (1 - _SLOPE)),
}


def flat_parts(op: str | None, module: nn.Module | None) -> Flat | None:
    """Where the activation ``op``, or that of a recurrent layer's outputs, is flat; ``None`` where it is no activation or nowhere flat."""
    if op == "rnn" and getattr(module, "nonlinearity", None) == "tanh":
        return _FIXED["tanh"]
    if op in {"elu", "celu"}:
        return _elu(getattr(module, "alpha", 1.0))
    if op == "hardtanh":
        return Flat(float(getattr(module, "min_val", -1.0)), float(getattr(module, "max_val", 1.0)), saturates=True)
    return _FIXED.get(op or "")


def _elu(alpha: Any) -> Flat | None:
    return Flat(low=-float(alpha) * (1 - _SLOPE)) if isinstance(alpha, (int, float)) and alpha > 0 else None


def function_flat_parts(op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flat | None:
    """Where a function that was called with these arguments (the tensor first) is flat."""
    if op in {"elu", "celu"}:
        return _elu(kwargs.get("alpha", args[1] if len(args) > 1 else 1.0))
    if op == "hardtanh":
        low = kwargs.get("min_val", args[1] if len(args) > 1 else -1.0)
        high = kwargs.get("max_val", args[2] if len(args) > 2 else 1.0)
        return Flat(float(low), float(high), saturates=True)
    return _FIXED.get(op)


def unit_axis(layer: Layer, tensor: torch.Tensor, front: Layer | None) -> int:
    """The axis of an output whose entries are channels or features; ``tensor`` has at least one dimension.

    What a layer computes decides where it can. An activation follows the layer ``front`` whose output it takes (or, where that is not
    known, the one that ran last) if the sizes agree; else channels come second in images and volumes, and features last.
    """
    if layer.op in _LAST:
        return tensor.dim() - 1
    if layer.op in _SECOND:
        return _second(layer.module, tensor)
    if front is not None and front.units is not None and front.axis is not None:
        axis = front.axis if front.axis >= 0 else tensor.dim() - 1
        if axis < tensor.dim() and tensor.shape[axis] == front.units:
            return axis
    return 1 if tensor.dim() > 3 else tensor.dim() - 1


def _second(module: nn.Module | None, tensor: torch.Tensor) -> int:
    """1, or 0 where a convolution or norm was given a single sample."""
    channels = next((getattr(module, name) for name in ("out_channels", "num_features", "num_channels") if hasattr(module, name)), None)
    if isinstance(channels, int) and tensor.shape[min(1, tensor.dim() - 1)] != channels and tensor.shape[0] == channels:
        return 0
    return min(1, tensor.dim() - 1)


_MANY = 4
"""One in so many units is many: looking at all then costs less than copying those that look dead."""


def dead_units(sample: torch.Tensor, tensor: torch.Tensor, axis: int, parts: Flat, *, whole: bool) -> torch.Tensor:
    """Which units lie in one flat part throughout, bool by unit.

    Args:
        sample: some of the values, ``(positions, units)``.
        tensor: all values.
        axis: of the units.
        parts: where the activation is flat.
        whole: ``sample`` holds all values.

    On the CPU, units that look dead in the sample are looked at in full; on an accelerator, where looking would mean waiting, all are.

    """
    dims = [dim for dim in range(tensor.dim()) if dim != axis]
    if tensor.device.type != "cpu" and not whole:
        return _stuck(parts, lambda largest: (tensor.amax if largest else tensor.amin)(dims))
    dead = _stuck(parts, lambda largest: sample.amax(0) if largest else sample.amin(0))
    if whole or not dead.any():
        return dead
    suspects = dead.nonzero().squeeze(1)
    if suspects.numel() * _MANY > dead.numel():
        return _stuck(parts, lambda largest: (tensor.amax if largest else tensor.amin)(dims))
    some = tensor.index_select(axis, suspects)
    dead[suspects] = _stuck(parts, lambda largest: (some.amax if largest else some.amin)(dims))
    return dead


def _stuck(parts: Flat, extreme: Callable[[bool], torch.Tensor]) -> torch.Tensor:
    if parts.zero:
        return (extreme(True) == 0) & (extreme(False) == 0)
    dead = extreme(True) <= parts.low
    return dead | (extreme(False) >= parts.high) if parts.high < math.inf else dead


_EQUAL = 1e-5
"""Relative difference up to which two units are one: sums of a few thousand products in float32 differ by less, in whatever order."""


def alike_units(sample: torch.Tensor) -> torch.Tensor:
    """How many units gave the same as another one at every position, no dimensions; those that gave zeros alone do not count.

    Units are told apart by their norm and by their product with one vector, so that none is compared with all the others: two that differ
    agree in both by chance once in some 1e9 pairs.

    Args:
        sample: ``(positions, units)``.

    """
    values = sample if sample.dtype == torch.float64 else sample.float()
    steps = torch.arange(values.shape[0], device=values.device, dtype=values.dtype)
    products, order = torch.sin(steps * 12.9898 + 1.0).matmul(values).sort()
    norms = torch.linalg.vector_norm(values, dim=0)[order]
    bound = _EQUAL * norms[1:]
    same = ((products[1:] - products[:-1]).abs() <= bound) & ((norms[1:] - norms[:-1]).abs() <= bound) & (norms[1:] > 0)
    return torch.nn.functional.pad(same, (1, 0)).logical_or(torch.nn.functional.pad(same, (0, 1))).sum()
