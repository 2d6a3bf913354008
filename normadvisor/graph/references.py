"""Reference computations that a custom module's output is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations

import torch
import torch.nn.functional as F

__all__ = ["ACTIVATIONS", "SAME_FUNCTION", "close", "eps_from_ratio", "fit_affine", "groups_normalized", "normalized", "statistic_axes"]

_TOLERANCE = 1e-4
"""Relative; room for modules that compute in float32 whatever they are given."""

SAME_FUNCTION = 1e-5
"""Relative; tells the two formulas of GELU apart (they differ by 5e-4), and leaves room for float32."""

_QUICK = 1.702  # the factor of the sigmoid approximation of GELU (Hendrycks & Gimpel 2016)

ACTIVATIONS: dict[tuple[str, str], Callable[[torch.Tensor], torch.Tensor]] = {
    ("relu", ""): F.relu,
    ("gelu", "none"): F.gelu,
    ("gelu", "tanh"): lambda x: F.gelu(x, approximate="tanh"),
    ("gelu", "quick"): lambda x: x * torch.sigmoid(_QUICK * x),
    ("silu", ""): F.silu,
    ("sigmoid", ""): torch.sigmoid,
    ("tanh", ""): torch.tanh,
    ("hardswish", ""): F.hardswish,
    ("hardsigmoid", ""): F.hardsigmoid,
    ("hardtanh", ""): F.hardtanh,
    ("relu6", ""): F.relu6,
    ("mish", ""): F.mish,
    ("softplus", ""): F.softplus,
    ("softsign", ""): F.softsign,
    ("elu", ""): F.elu,
    ("selu", ""): F.selu,
    ("leaky_relu", "0.01"): F.leaky_relu,
    ("leaky_relu", "0.1"): lambda x: F.leaky_relu(x, 0.1),
    ("leaky_relu", "0.2"): lambda x: F.leaky_relu(x, 0.2),
    ("log_sigmoid", ""): F.logsigmoid,
    ("tanhshrink", ""): F.tanhshrink,
}
"""Elementwise functions; the second part of the key tells variants apart."""


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = _TOLERANCE) -> bool:
    """Whether two tensors agree within ``tolerance`` times the largest magnitude of the expected one."""
    if found.shape != expected.shape or not found.is_floating_point():
        return False
    scale = max(float(expected.abs().amax()), 1e-30)
    return bool(((found.to(expected.dtype) - expected).abs() <= tolerance * scale).all())


def normalized(x: torch.Tensor, axes: tuple[int, ...], *, centred: bool = True) -> torch.Tensor:
    """``x`` divided by its root mean square (by its standard deviation if ``centred``) over ``axes``, without eps."""
    if centred:
        x = x - x.mean(axes, keepdim=True)
    return x / x.square().mean(axes, keepdim=True).sqrt()


def groups_normalized(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Group normalization of (N, C, ...) without eps and affine parameters."""
    shape = x.shape
    return normalized(x.reshape(shape[0], groups, -1), (2,)).reshape(shape)


def fit_affine(y: torch.Tensor, z: torch.Tensor, axis: int | None) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Slopes and offsets of ``y = a z + b`` with one pair per index of ``axis`` (per element of a sample if None).

    Returns None when no such pair explains ``y``.
    """
    y = y.to(z.dtype)
    if axis is None:
        rows_z, rows_y = z.reshape(z.shape[0], -1).T, y.reshape(y.shape[0], -1).T
    else:
        rows_z, rows_y = z.movedim(axis, 0).reshape(z.shape[axis], -1), y.movedim(axis, 0).reshape(y.shape[axis], -1)
    centred = rows_z - rows_z.mean(1, keepdim=True)
    power = centred.square().sum(1)
    if not bool(torch.isfinite(rows_y).all()) or not bool((power > 0).all()):
        return None
    slope = (centred * (rows_y - rows_y.mean(1, keepdim=True))).sum(1) / power
    offset = rows_y.mean(1) - slope * rows_z.mean(1)
    left = (rows_y - slope[:, None] * rows_z - offset[:, None]).abs().amax(1)
    spread = (slope.abs()[:, None] * centred.abs()).amax(1)
    if not bool((spread > 0).all()) or not bool((left <= _TOLERANCE * spread).all()):
        return None
    return slope, offset


def statistic_axes(rank: int) -> Iterator[tuple[int, ...]]:
    """All sets of axes a statistic could be over, the usual ones of image and sequence networks first."""
    usual = [(0, *range(2, rank)), (rank - 1,), (1,), tuple(range(2, rank)), tuple(range(1, rank))]
    every = [axes for size in range(1, rank + 1) for axes in combinations(range(rank), size)]
    yield from dict.fromkeys(axes for axes in [*usual, *every] if axes)


def eps_from_ratio(ratio: float, variance: float) -> float:
    """Which eps makes ``sqrt(variance / (variance + eps))`` equal to ``ratio``, to two digits; 0 if none is visible."""
    if not 0 < ratio < 1:
        return 0.0
    eps = variance * (1 / ratio**2 - 1)
    if eps < 1e-4 * variance:
        return 0.0
    digits = 1 - math.floor(math.log10(eps))
    return round(eps, digits)
