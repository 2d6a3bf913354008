"""Folding as plain arithmetic on tensors: float64 inside, the dtype, device and memory format of the old weight outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from normadvisor.optimization.folding.channels import UNTOUCHED, decode
from normadvisor.optimization.folding.program import run
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["DO", "scale_and_shift"]

_Values = Mapping[str, torch.Tensor]
_Options = Mapping[str, Any]


def _double(value: torch.Tensor) -> torch.Tensor:
    """In float64, on the CPU where the device has none."""
    return value.detach().to("cpu", torch.float64) if value.device.type == "mps" else value.detach().to(torch.float64)


def like(value: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """``value`` rounded to the dtype of ``old``, on its device, in its memory format."""
    if value.shape != old.shape:
        return value.to(old.device, old.dtype)
    return torch.empty_like(old, requires_grad=False).copy_(value)


def scale_and_shift(values: _Values, options: _Options) -> tuple[torch.Tensor, torch.Tensor]:
    """``norm(x) = x * scale + shift`` for each channel, in float64.

    Of a batch norm, ``scale = weight / sqrt(var + eps)`` and ``shift = bias - mean * scale``.

    Args:
        values: by role ``norm.weight norm.divisor norm.bias norm.mean norm.var``, any of which may be missing; of any shape with one entry
            per channel.
        options: ``eps`` and ``channels``.

    Raises:
        CannotChange: an entry is not finite, or a variance plus eps is not positive.

    """
    held = {role: _double(value).reshape(-1) for role, value in values.items() if role.startswith("norm.")}
    for role, value in held.items():
        if not value.is_meta and not bool(torch.isfinite(value).all()):
            raise CannotChange(f"the {_WORDS[role]} of the norm is not finite")
    count = int(options["channels"])
    device = next(iter(held.values())).device if held else torch.device("cpu")
    scale = held.get("norm.weight", torch.ones(count, dtype=torch.float64, device=device))
    shift = held.get("norm.bias", torch.zeros(count, dtype=torch.float64, device=device))
    if "norm.divisor" in held:
        scale = scale / held["norm.divisor"]
    if "norm.var" in held:
        wide = held["norm.var"] + float(options["eps"])
        if not wide.is_meta and not bool((wide > 0).all()):
            raise CannotChange("the running variance of the norm has entries below zero")
        scale = scale / wide.sqrt()
    if "norm.mean" in held:
        shift = shift - held["norm.mean"] * scale
    for told, value in (("scale", scale), ("shift", shift)):
        if not value.is_meta and not bool(torch.isfinite(value).all()):
            raise CannotChange(f"the {told} of the norm is not finite")
    return scale, shift


_WORDS = {
    "norm.weight": "weight",
    "norm.bias": "bias",
    "norm.divisor": "divisor",
    "norm.mean": "running mean",
    "norm.var": "running variance",
}


def _spread(values: torch.Tensor, ids: torch.Tensor, rest: float) -> torch.Tensor:
    """Entry ``ids[i]`` of ``values`` at place ``i``; ``rest`` where the norm has no say."""
    ids = ids.to(values.device)
    return torch.where(ids == UNTOUCHED, torch.full_like(values[:1], rest), values[ids.clamp_min(0)])


def _along(values: torch.Tensor, rank: int, axis: int) -> torch.Tensor:
    return values.reshape([-1 if place == axis else 1 for place in range(rank)])


def _by_group(weight: torch.Tensor, factors: torch.Tensor, groups: int) -> torch.Tensor:
    """``weight`` times one factor for each channel of its second axis, which is counted anew in each group of the first."""
    rank = weight.dim()
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return (grouped * factors.reshape(groups, 1, weight.shape[1], *[1] * (rank - 2))).reshape(weight.shape)


def _behind(values: _Values, options: _Options) -> dict[str, torch.Tensor]:
    """``norm(layer(x))``: each output channel of the layer is multiplied and moved.

    The weight of a transposed convolution has shape (in, out / groups, ...), that of the others (out, ...).
    """
    old = values["layer.weight"]
    scale, shift = scale_and_shift(values, options)
    ids = decode(options.get("ids"), int(options["channels"]))
    factor, offset = _spread(scale, ids, 1.0), _spread(shift, ids, 0.0)
    weight = _double(old)
    factor, offset = factor.to(weight.device), offset.to(weight.device)
    if options["layer"] == "conv_transpose":
        weight = _by_group(weight, factor, int(options["groups"]))
    else:
        weight = weight * _along(factor, weight.dim(), 0)
    found = {"layer.weight": like(weight, old)}
    bias = values.get("layer.bias")
    moved = offset if options.get("shifts", True) else torch.zeros_like(offset)
    moved = moved if bias is None else _double(bias) * factor + moved
    found["layer.bias"] = moved.to(old.device, old.dtype if bias is None else bias.dtype)
    return found


def _ahead(values: _Values, options: _Options) -> dict[str, torch.Tensor]:
    """``layer(norm(x))``: each input channel of the layer is multiplied, and what the shifts add up to goes into the bias."""
    old = values["layer.weight"]
    scale, shift = scale_and_shift(values, options)
    ids = decode(options.get("ids"), int(options["channels"]))
    weight = _double(old)
    factor, offset = _spread(scale, ids, 1.0).to(weight.device), _spread(shift, ids, 0.0).to(weight.device)
    if options["layer"] == "conv_transpose":
        return {"layer.weight": like(weight * _along(factor, weight.dim(), 0), old)}
    groups = int(options["groups"])
    added = _by_group(weight, offset, groups).flatten(1).sum(1)
    found = {"layer.weight": like(_by_group(weight, factor, groups), old)}
    bias = values.get("layer.bias")
    added = added if bias is None else _double(bias) + added
    found["layer.bias"] = added.to(old.device, old.dtype if bias is None else bias.dtype)
    return found


def _sum(values: _Values, options: _Options) -> dict[str, torch.Tensor]:
    """Parallel convolutions, norms and the input itself, added up, as one convolution.

    Each kernel is laid into the common one at its offset; ``x * scale`` is a kernel with ``scale`` in the middle of the channel's own map.
    """
    branches, groups = options["branches"], int(options["groups"])
    old = values["0.weight"]
    shape = (*old.shape[:2], *options["kernel"])
    weight = torch.zeros(shape, dtype=torch.float64, device=_double(old).device)
    bias = weight.new_zeros(shape[0])
    width = shape[0] // groups
    channel = torch.arange(shape[0], device=weight.device)
    middle = tuple(options["middle"])
    for place, branch in enumerate(branches):
        held = {role.removeprefix(f"{place}."): value for role, value in values.items() if role.startswith(f"{place}.")}
        sign = int(branch["sign"])
        if branch["kind"] == "conv":
            taps = _double(held["weight"])
            window = tuple(slice(first, first + size) for first, size in zip(branch["offset"], taps.shape[2:], strict=True))
            weight[(slice(None), slice(None), *window)] += sign * taps
            bias += sign * _double(held["bias"]) if "bias" in held else 0
            continue
        scale, shift = scale_and_shift(held, branch) if branch["kind"] == "norm" else (torch.ones_like(bias), torch.zeros_like(bias))
        weight[(channel, channel % width, *middle)] += sign * scale.to(weight.device)
        bias += sign * shift.to(weight.device)
    kind = values.get("0.bias", old)
    same = weight.shape == old.shape
    return {"layer.weight": like(weight, old) if same else weight.to(old.device, old.dtype), "layer.bias": bias.to(old.device, kind.dtype)}


def _program(values: _Values, options: _Options) -> dict[str, torch.Tensor]:
    """What a list of operations gives, see :mod:`normadvisor.optimization.folding.program`."""
    wide = {name: _double(value) for name, value in values.items()}
    some = next(iter(values.values()))
    dtype = getattr(torch, options["dtype"])
    return {name: run(steps, wide).to(some.device, dtype) for name, steps in options["programs"].items()}


def _rename(values: _Values, _options: _Options) -> dict[str, torch.Tensor]:
    return dict(values)


DO: dict[str, Callable[[_Values, _Options], dict[str, torch.Tensor]]] = {
    "behind": _behind,
    "ahead": _ahead,
    "sum": _sum,
    "program": _program,
    "rename": _rename,
    "drop": lambda _values, _options: {},
}
"""What the kinds of steps compute, by kind."""
