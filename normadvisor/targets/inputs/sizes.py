"""Arithmetic on shapes: other spatial sizes, other ranks, other channel counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from normadvisor.targets.inputs.layers import BATCH, SEQUENCE
from normadvisor.targets.inputs.plan import Plan

__all__ = [
    "MAX_LENGTH", "MAX_SIZE", "inverse", "order_of", "recounted", "reranked", "resized", "resized_together", "sizes_for_features",
    "sizes_for_positions",
]  # fmt: skip

_USUAL_SIZES = (28, 32, 64, 84, 96, 112, 128, 160, 192, 224, 227, 256, 299, 320, 384, 448, 512, 640)
"""Image sizes that models are written for; one close to a computed size is tried before it."""
_USUAL_LENGTHS = (128, 187, 256, 512, 1000, 1024, 2048, 4000, 4096, 5000, 8000, 8192, 16000, 22050, 32000, 44100, 48000, 80000)
"""Lengths of signals: powers of two, and one second at usual rates."""
MAX_SIZE = 2048
"""Largest height or width tried."""
MAX_CHANNELS = 2048
"""Most channels of an image tried that no layer asks for."""
MAX_LENGTH = 2**20
"""Largest length of a one-dimensional signal tried."""


def order_of(shape: tuple[int, ...], got: tuple[int, ...]) -> tuple[int, ...] | None:
    """The permutation that turns ``shape`` into ``got``; the identity first, the batch axis in its place if it can be."""
    if len(shape) != len(got) or sorted(shape) != sorted(got) or len(shape) > 5:
        return None
    orders = [order for order in itertools.permutations(range(len(shape))) if tuple(shape[i] for i in order) == got]
    return min(orders, key=lambda order: (order[0] != 0, sum(i != j for i, j in enumerate(order))))


def inverse(wanted: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a permutation turns into ``wanted``."""
    shape = [0] * len(order)
    for size, axis in zip(wanted, order, strict=True):
        shape[axis] = size
    return tuple(shape)


def recounted(plan: Plan, got: int, need: int) -> Iterator[Plan]:
    """Plans in which a channel or feature count of ``got`` becomes ``need``, alone or as a part of a concatenation."""
    floats = [(place, spec) for place, spec in plan.tensors() if len(spec.shape) > 1 and spec.dtype != "int64"]
    for place, spec in floats:
        for axis in dict.fromkeys((1, len(spec.shape) - 1)):
            if spec.shape[axis] == got:
                yield plan.reshaped(place, (*spec.shape[:axis], need, *spec.shape[axis + 1 :]))
    for place, spec in floats:
        axis = 1 if len(spec.shape) > 3 else len(spec.shape) - 1
        rest = need - (got - spec.shape[axis])
        if spec.shape[axis] < got and 0 < rest <= (MAX_CHANNELS if len(spec.shape) > 3 else need):
            yield plan.reshaped(place, (*spec.shape[:axis], rest, *spec.shape[axis + 1 :]))
    if len(floats) > 1 and sum(spec.shape[-1] for _, spec in floats) == got and need >= len(floats):
        shares = [need // len(floats)] * len(floats)
        shares[0] += need - sum(shares)
        for (place, spec), share in zip(floats, shares, strict=True):
            plan = plan.reshaped(place, (*spec.shape[:-1], share))
        yield plan


def sizes_for_features(known: dict[int, int], size: int, got: int, need: int, dims: int) -> list[int]:
    """Spatial sizes at which the features should become ``need``.

    Features grow as ``(a * size + b) ** dims``; one known size gives ``a`` (with ``b = 0``), two give both.

    Args:
        known: features by the sizes tried so far.
        size: the last size.
        got: features at ``size``.
        need: features wanted.
        dims: spatial dimensions.

    """
    root = 1 / dims
    estimates = [size * (need / got) ** root]
    others = sorted((abs(features - need), s) for s, features in known.items() if s != size and features != got)
    if others:
        other = others[0][1]
        slope = (got**root - known[other] ** root) / (size - other)
        if slope > 0:
            estimates.insert(0, size + (need**root - got**root) / slope)
    wanted: list[int] = []
    for estimate in estimates:
        wanted += [usual for usual in (_USUAL_SIZES if dims > 1 else _USUAL_LENGTHS) if abs(usual - estimate) <= max(2, 0.08 * estimate)]
        wanted += [round(estimate) + step for step in (0, 1, -1, 2, -2, 4, -4)]
    return [s for s in dict.fromkeys(wanted) if 1 <= s <= (MAX_SIZE if dims > 1 else MAX_LENGTH) and s not in known]


def sizes_for_positions(shape: tuple[int, ...], one: int, other: int) -> list[int]:
    """Image sizes at which a grid of patches, with 0 to 2 extra tokens, has the other length."""
    sizes: list[int] = []
    for (have, need), extra in itertools.product(((one, other), (other, one)), range(3)):
        if have <= extra or need <= extra:
            continue
        exact = shape[-1] * ((need - extra) / (have - extra)) ** (0.5 if len(shape) > 3 else 1)
        if abs(exact - round(exact)) < 1e-9 and 1 <= round(exact) <= MAX_SIZE:
            sizes.append(round(exact))
    return sizes


def resized_together(plan: Plan, shape: tuple[int, ...], size: int) -> Plan:
    """Another spatial size for every tensor of a shape: the branches of a model are usually fed alike."""
    for place, spec in plan.tensors():
        if spec.shape == shape:
            plan = plan.reshaped(place, resized(shape, size))
    return plan


def resized(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Another spatial size: the last axis of a signal, the last two of an image or clip, the middle two if channels stand last."""
    if len(shape) == 3:
        return (*shape[:2], size)
    if len(shape) == 4 and shape[-1] <= 4 < shape[1]:
        return (shape[0], size, size, shape[-1])
    return (*shape[:-2], size, size)


def reranked(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The nearest shape of another rank: images get 224 pixels a side, sequences 16 steps, superfluous axes go."""
    if rank < len(shape):
        return (*shape[: rank - 1], shape[-1]) if rank > 1 else shape[:1]
    batch = shape[0] if shape else BATCH
    if rank == 4 and len(shape) == 3 and shape[1] <= 4:
        return (*shape, shape[-1])
    if rank == 4:
        return (batch, 3, 224, 224)
    if rank == 5:
        return (*shape[:2], 16, *shape[2:]) if len(shape) == 4 else (BATCH, 3, 16, 112, 112)
    if rank == 3 and len(shape) == 2:
        return (batch, SEQUENCE, shape[1])
    return (*shape, *(SEQUENCE,) * (rank - len(shape)))
