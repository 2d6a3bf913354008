"""Scale and shift of a norm that was written by hand, told by what they do rather than by their names."""

from __future__ import annotations

import copy
from itertools import permutations

import torch
from torch import nn

__all__ = ["scale_and_shift"]

_SAMPLES = 16
_POSITIONS = 3
_RANKS = {nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,)}
"""Ranks of the inputs that a batch norm takes."""
_MOST_VALUES = 65536
"""Channels of a layer that is tried; wider ones would be slow to run and are none in practice."""
_CLOSE = 1e-6
"""Relative difference up to which two outputs are the same in float64."""
_NEAR_ONE = 0.2
"""How far the mean square of the normalized values may be from 1: divisors of n and of n - 1 differ by less for 16 samples."""


def scale_and_shift(old: nn.Module, new: nn.Module) -> dict[str, str]:
    """Which parameters of ``old`` mean the ``weight`` and the ``bias`` of ``new``.

    A copy of ``old`` is run in training: with scale 1 and shift 0 its output has mean square 1, and with any other values it is that times
    the scale plus the shift. A factor of ``1 + gamma`` is therefore no weight.

    Args:
        old: a norm written by hand, on any device; it is not changed.
        new: one of torch's batch norms.

    Returns:
        ``{"gamma": "weight", "beta": "bias"}``; empty where nothing of the kind was found, or where a shape would have to change.

    """
    weight = getattr(new, "weight", None)
    ranks = next((ranks for kind, ranks in _RANKS.items() if isinstance(new, kind)), ())
    if not isinstance(weight, torch.Tensor) or weight.numel() > _MOST_VALUES:
        return {}
    named = [name for name, value in old.named_parameters(recurse=False) if value.shape == weight.shape]
    pairs = [*permutations(named, 2), *((name, "") for name in named), *(("", name) for name in named)]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            tried = _copy(old)
            for scale, shift in pairs:
                if any(_behaves(tried, scale, shift, _input(len(weight), rank)) for rank in ranks):
                    return {name: meaning for name, meaning in ((scale, "weight"), (shift, "bias")) if name}
        except Exception:  # noqa: BLE001 - code of a user's own, run on an input that it may not take
            return {}
    return {}


def _copy(layer: nn.Module) -> nn.Module:
    """In float64 on the CPU, in train mode; what has no values gets zeros, which statistics of a batch do not depend on."""
    copied = copy.deepcopy(layer)
    if any(tensor.is_meta for tensor in (*copied.parameters(), *copied.buffers())):
        copied.to_empty(device="cpu")
        for tensor in (*copied.parameters(), *copied.buffers()):
            tensor.zero_()
    return copied.to(device="cpu", dtype=torch.float64).train()


def _input(channels: int, rank: int) -> torch.Tensor:
    return torch.randn(_SAMPLES, channels, *[_POSITIONS] * (rank - 2), dtype=torch.float64) * 3 + 1


def _behaves(layer: nn.Module, scale: str, shift: str, x: torch.Tensor) -> bool:
    """Whether two parameters multiply and move what is normalized; an empty name is none."""
    factor, offset = torch.rand(2, x.shape[1], dtype=torch.float64) + 0.5
    shape = (-1, *[1] * (x.dim() - 2))
    try:
        plain = _output(layer, {scale: torch.ones_like(factor), shift: torch.zeros_like(offset)}, x)
        moved = _output(layer, {scale: factor, shift: offset}, x)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False
    if plain.shape != x.shape or abs(float(plain.square().mean()) - 1) > _NEAR_ONE:
        return False
    expected = (plain * factor.reshape(shape) if scale else plain) + (offset.reshape(shape) if shift else 0)
    return bool((moved - expected).abs().max() <= _CLOSE * expected.abs().max())


def _output(layer: nn.Module, values: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for name, value in values.items():
        if name:
            layer.get_parameter(name).copy_(value)
    output: torch.Tensor = layer(x)
    return output
