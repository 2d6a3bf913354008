"""What a layer hands on to the one that takes its place: one row for each pair of kinds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from normadvisor.graph.canonical import module_op
from normadvisor.rewrite.model.scale_shift import scale_and_shift

__all__ = ["CARRIED", "Row", "aliases", "carry", "kind_of"]

_AFFINE = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class Row:
    """Names of the parameters and buffers that mean the same in both kinds of layer."""

    old: str
    new: str
    names: tuple[str, ...]


CARRIED = (
    Row("batch_norm", "batch_norm", _AFFINE + _STATISTICS),
    Row("batch_norm", "frozen_batch_norm", _AFFINE + _STATISTICS),
    Row("batch_norm", "instance_norm", _AFFINE + _STATISTICS),
    Row("batch_norm", "group_norm", _AFFINE),
    Row("batch_norm", "layer_norm", _AFFINE),
    Row("batch_norm", "rms_norm", ("weight",)),
    Row("frozen_batch_norm", "batch_norm", _AFFINE + _STATISTICS),
    Row("frozen_batch_norm", "frozen_batch_norm", _AFFINE + _STATISTICS),
    Row("frozen_batch_norm", "group_norm", _AFFINE),
    Row("instance_norm", "instance_norm", _AFFINE + _STATISTICS),
    Row("instance_norm", "batch_norm", _AFFINE + _STATISTICS),
    Row("instance_norm", "group_norm", _AFFINE),
    Row("instance_norm", "layer_norm", _AFFINE),
    Row("group_norm", "group_norm", _AFFINE),
    Row("group_norm", "batch_norm", _AFFINE),
    Row("group_norm", "instance_norm", _AFFINE),
    Row("group_norm", "layer_norm", _AFFINE),
    Row("layer_norm", "layer_norm", _AFFINE),
    Row("layer_norm", "group_norm", _AFFINE),
    Row("layer_norm", "batch_norm", _AFFINE),
    Row("layer_norm", "rms_norm", ("weight",)),
    Row("rms_norm", "rms_norm", ("weight",)),
    Row("rms_norm", "layer_norm", ("weight",)),
    Row("conv", "conv", _AFFINE),
    Row("conv_transpose", "conv_transpose", _AFFINE),
    Row("linear", "linear", _AFFINE),
    Row("embedding", "embedding", ("weight",)),
    Row("prelu", "prelu", ("weight",)),
)
"""Pairs that are not listed hand on nothing. Scale and shift of a norm multiply and move each channel in all of them."""

_ROWS = {(row.old, row.new): row.names for row in CARRIED}


def kind_of(layer: nn.Module) -> str:
    """Canonical operation of a layer, ``frozen_batch_norm`` for those whose statistics and parameters are all buffers; else empty."""
    if type(layer).__name__.startswith("FrozenBatchNorm"):
        return "frozen_batch_norm"
    known = module_op(type(layer))
    return known[0] if known is not None else ""


def carry(old: nn.Module, new: nn.Module, kind: str = "") -> tuple[list[tuple[torch.Tensor, torch.Tensor]], tuple[str, ...]]:
    """Hand the values of ``old`` on to ``new``, which has just been built.

    A parameter stays the same object, so that an optimizer goes on with it, and so does a buffer. Where one becomes the other, its
    numbers are copied. Shapes must agree; ``new`` decides what it holds at all. Scale and shift of a batch norm written by hand may have
    any names.

    Args:
        old: the layer that leaves.
        new: the layer that takes its place.
        kind: what ``old`` is, where its class does not tell, as of a hand-written norm.

    Returns:
        Pairs of the new tensor and the old one whose numbers it got, and the names of what was left behind.

    """
    copied: list[tuple[torch.Tensor, torch.Tensor]] = []
    names = _ROWS.get((kind_of(old) or kind, kind_of(new)), ())
    carried = set()
    for own, name in [*((name, name) for name in names), *aliases(old, new, kind).items()]:
        before, after = getattr(old, own, None), getattr(new, name, None)
        if not isinstance(before, torch.Tensor) or not isinstance(after, torch.Tensor) or before.shape != after.shape:
            continue
        carried.add(own)
        if isinstance(before, nn.Parameter) and isinstance(after, nn.Parameter):
            new._parameters[name] = before  # noqa: SLF001
        elif not isinstance(before, nn.Parameter) and name in new._buffers:  # noqa: SLF001
            new._buffers[name] = before  # noqa: SLF001
        else:
            with torch.no_grad():
                after.copy_(before)
            copied.append((after, before))
    held = [name for name, _ in old.named_parameters(recurse=False)] + [name for name, _ in old.named_buffers(recurse=False)]
    return copied, tuple(name for name in held if name not in carried)


def aliases(old: nn.Module, new: nn.Module, kind: str = "") -> dict[str, str]:
    """Names in ``old`` of values that ``new`` calls otherwise: ``{"gamma": "weight", "beta": "bias"}``; none where classes tell.

    Args:
        old: the layer that leaves.
        new: the layer that takes its place.
        kind: what ``old`` is, where its class does not tell.

    """
    if kind_of(old) or kind != "batch_norm" or kind_of(new) != "batch_norm" or hasattr(old, "weight"):
        return {}
    return scale_and_shift(old, new)
