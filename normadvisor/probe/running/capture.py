"""Outputs of layers and of the whole model in one pass, thinned out, to be compared with those of another pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from normadvisor.probe.running.outputs import difference
from normadvisor.probe.running.samples import sample_axis
from normadvisor.probe.running.trees import float_tensors

__all__ = ["Captured", "Snapshot", "capturing", "layer_gaps", "paired", "rows_of", "snapshot", "thinned"]

MAX_OUTPUT = 1 << 20
"""Values of an output that are compared; of larger ones, evenly spaced values."""
MAX_LAYER = 1 << 12
"""Values of a layer's output that are compared."""

Captured = dict[str, list[Tensor]]
"""By name of the layer: one tensor per call and output, thinned out, float64 on the CPU."""


def thinned(tensor: Tensor, limit: int) -> Tensor:
    """At most ``limit`` values of a tensor as float64 on the CPU: all, or evenly spaced ones that do not follow the last axes' sizes."""
    held = tensor.detach()
    if held.is_sparse or held.layout is not torch.strided:
        held = held.to_dense()
    if held.is_complex():
        held = torch.view_as_real(held.resolve_conj())
    flat = held.reshape(-1)
    if flat.numel() > limit:
        stride = flat.numel() // limit + 1
        while any(size > 1 and math.gcd(stride, size) > 1 for size in held.shape[1:]):
            stride += 1  # a stride that shares a divisor with an axis would see only some of its positions
        flat = flat[::stride]
    return flat.to("cpu", torch.float64)


def rows_of(tensor: Tensor, size: int, first: int) -> Tensor | None:
    """What of a tensor belongs to the first samples of a batch of ``size``; ``None`` where that cannot be told."""
    axis = sample_axis(tensor, size)
    if axis is None or size < 2:
        return None
    return tensor.narrow(axis, 0, tensor.shape[axis] // size * first)


@contextmanager
def capturing(modules: Mapping[str, nn.Module], *, sample: tuple[int, int] | None = None) -> Iterator[Captured]:
    """Keep the outputs of modules in the passes of the block; with ``sample`` (batch size, number) only the first samples'."""
    found: Captured = {}

    def hook(name: str) -> Any:
        def note(_module: nn.Module, _args: Any, output: Any) -> None:
            found.setdefault(name, []).extend(parts_of(output, MAX_LAYER, sample))

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def parts_of(output: Any, limit: int, sample: tuple[int, int] | None = None) -> list[Tensor]:
    """The real tensors of an output, thinned out; of the first samples only where asked."""
    tensors: Iterable[Tensor] = (tensor for _, tensor in float_tensors(output))
    if sample is not None:
        tensors = (rows for tensor in tensors if (rows := rows_of(tensor, *sample)) is not None)
    return [thinned(tensor, limit) for tensor in tensors]


Snapshot = dict[str, tuple[tuple[int, ...], Tensor]]
"""Real tensors of an output by path: shape, and values thinned out."""


def snapshot(output: Any, *, sample: tuple[int, int] | None = None) -> Snapshot:
    """The real tensors of an output, to be compared; with ``sample`` (batch size, number) only the first samples'.

    A tensor with one entry for each pair of samples depends on all of them by intention and is left out then.
    """
    found: Snapshot = {}
    for name, tensor in float_tensors(output):
        pairs = sample is not None and tuple(tensor.shape) == (sample[0], sample[0])
        part = tensor if sample is None else None if pairs else rows_of(tensor, *sample)
        if part is not None:
            found[name] = (tuple(part.shape), thinned(part, MAX_OUTPUT))
    return found


def paired(one: Snapshot, other: Snapshot) -> tuple[list[Tensor], list[Tensor]]:
    """Tensors of two outputs that belong together: of one path and shape; where no paths agree, the first two of one shape."""
    names = [name for name, (shape, _) in other.items() if name in one and one[name][0] == shape]
    if names:
        return [one[name][1] for name in names], [other[name][1] for name in names]
    for shape, tensor in other.values():
        for candidate, mine in one.values():
            if candidate == shape:
                return [mine], [tensor]
    return [], []


def layer_gaps(one: Captured, other: Captured) -> dict[str, float]:
    """Relative RMS difference of every layer's outputs in two passes, where they can be compared."""
    gaps: dict[str, float] = {}
    for name, tensors in other.items():
        mine = one.get(name, [])
        if len(mine) != len(tensors) or any(a.shape != b.shape for a, b in zip(mine, tensors, strict=True)) or not tensors:
            continue
        gap = difference(mine, tensors)
        if gap is not None:
            gaps[name] = gap
    return gaps
