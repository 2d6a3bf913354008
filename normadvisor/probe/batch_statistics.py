"""How far the statistics of a batch lie from the running ones of a BatchNorm, nearly for free."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from normadvisor.probe.norms import channel_moments

__all__ = ["Running", "batch_moments", "gaps", "running_statistics"]

_BATCH_NORM = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - the common base has no public name


class Running(NamedTuple):
    """Running statistics as they were before the pass."""

    mean: torch.Tensor
    variance: torch.Tensor


def running_statistics(module: nn.Module) -> Running | None:
    """A copy of the running statistics of a BatchNorm; ``None`` where it keeps none."""
    mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    if not isinstance(mean, torch.Tensor) or not isinstance(variance, torch.Tensor) or nn.parameter.is_lazy(mean):
        return None
    return Running(mean.detach().clone(), variance.detach().clone())


def batch_moments(module: Any, before: Running, given: torch.Tensor) -> Running | None:
    """Mean and unbiased variance per channel of a batch that ``module`` has just normalized, float64 where there is float64.

    In train mode they follow from what the batch did to the running ones, ``new = (1 - momentum) old + momentum batch``, so that nothing
    is reduced again (and, for SyncBatchNorm, they are those of all ranks). Else they are computed.
    """
    momentum = _momentum(module)
    if momentum and module.training and _is_plain(module) and before.mean.dtype in {torch.float32, torch.float64}:
        wide = torch.float32 if before.mean.device.type == "mps" else torch.float64
        old, new = [each.to(wide) for each in before], [module.running_mean.detach().to(wide), module.running_var.detach().to(wide)]
        mean, variance = ((after - (1 - momentum) * first) / momentum for first, after in zip(old, new, strict=True))
        return Running(mean, variance.clamp_min(0))
    if given.dim() < 2 or given.shape[1] != before.mean.numel() or not given.is_floating_point():
        return None
    return Running(*channel_moments(given))


def _momentum(module: Any) -> float | None:
    momentum = getattr(module, "momentum", None)
    if momentum is None and isinstance(getattr(module, "num_batches_tracked", None), torch.Tensor):
        # Cumulative average: counting, it would have to wait for the device.
        counted = module.num_batches_tracked
        return 1.0 / max(int(counted), 1) if counted.device.type == "cpu" else None
    return float(momentum) if isinstance(momentum, (int, float)) else None


def _is_plain(module: nn.Module) -> bool:
    """Whether torch's own code moved the running statistics."""
    return isinstance(module, _BATCH_NORM) and type(module).forward.__module__ == _BATCH_NORM.__module__ and module.track_running_stats


def gaps(module: Any, before: Running, batch: Running) -> torch.Tensor:
    """Mean squares, over channels, of two distances: of the means in running standard deviations, and of the logarithms of the variances.

    Two float64 values (float32 on MPS).
    """
    eps = float(getattr(module, "eps", 1e-5))
    variance = before.variance.to(batch.variance) + eps
    mean_gap = (batch.mean - before.mean.to(batch.mean)) / variance.sqrt()
    variance_gap = ((batch.variance + eps) / variance).log()
    return torch.stack([mean_gap.square().mean(), variance_gap.square().mean()])
