"""How far the statistics of a batch lie from the running ones of a BatchNorm, nearly for free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from normadvisor.probe.recording.norms import channel_moments
from normadvisor.probe.recording.transfer import Transfer

__all__ = ["BatchStatistics", "Running", "running_statistics"]

_BATCH_NORM = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - the common base has no public name


class Running(NamedTuple):
    """Mean and unbiased variance by channel."""

    mean: torch.Tensor
    variance: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Pass:
    """One run of a BatchNorm."""

    before: Running
    after: Running
    """The running statistics afterwards; where ``momentum`` is 1, those of the batch."""
    momentum: float
    eps: float
    receive: Callable[[list[float]], None]


def running_statistics(module: nn.Module) -> Running | None:
    """A copy of the running statistics of a BatchNorm; ``None`` where it keeps none."""
    mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    if not isinstance(mean, torch.Tensor) or not isinstance(variance, torch.Tensor) or nn.parameter.is_lazy(mean):
        return None
    if mean.numel() != variance.numel() or not mean.is_floating_point():
        return None
    # Written by hand, they may have the axes of what they are subtracted from: (1, C, 1, 1).
    return Running(mean.detach().clone().reshape(-1), variance.detach().clone().reshape(-1))


class BatchStatistics:
    """Runs of BatchNorms, reduced together at the end of the step."""

    def __init__(self) -> None:
        self._waiting: dict[torch.device, list[_Pass]] = {}

    def add(self, module: Any, before: Running, given: torch.Tensor, receive: Callable[[list[float]], None]) -> None:
        """Take a run of ``module`` on the batch ``given``; ``receive`` gets the mean squares of both gaps.

        In train mode the statistics of the batch follow from what it did to the running ones, ``new = (1 - momentum) old +
        momentum batch``, so that nothing is reduced again (and, for SyncBatchNorm, they are those of all ranks). Else they are computed.
        """
        momentum = _momentum(module)
        after = running_statistics(module)
        if after is None:
            return
        if not (momentum and module.training and _is_plain(module) and before.mean.dtype in {torch.float32, torch.float64}):
            if given.dim() < 2 or given.shape[1] != before.mean.numel() or not given.is_floating_point():
                return
            momentum, after = 1.0, Running(*channel_moments(given))
        one = _Pass(before, after, momentum, float(getattr(module, "eps", 1e-5)), receive)
        self._waiting.setdefault(before.mean.device, []).append(one)

    def reduce(self, transfer: Transfer) -> None:
        """Put the gaps on their way, and be empty again."""
        waiting, self._waiting = self._waiting, {}
        for device, passes in waiting.items():
            receivers = [each.receive for each in passes]

            def receive(numbers: list[float], receivers: Sequence[Callable[[list[float]], None]] = receivers) -> None:
                for index, each in enumerate(receivers):
                    each(numbers[2 * index : 2 * index + 2])

            transfer.add(_gaps(passes, device), receive)


def _gaps(passes: Sequence[_Pass], device: torch.device) -> torch.Tensor:
    """Mean squares over channels, ``(passes, 2)``.

    Of the distance of the means in running standard deviations, and of the difference of the logarithms of the variances.
    """
    wide = torch.float32 if device.type == "mps" else torch.float64
    # Made on the CPU: how long the result of repeat_interleave is would have to be asked of an accelerator.
    sizes = torch.tensor([each.before.mean.numel() for each in passes])
    owner = torch.repeat_interleave(torch.arange(len(passes)), sizes).to(device)
    momentum = torch.tensor([each.momentum for each in passes], dtype=wide).to(device)[owner]
    eps = torch.tensor([each.eps for each in passes], dtype=wide).to(device)[owner]
    old_mean, old_variance, new_mean, new_variance = (
        torch.cat([getattr(getattr(each, when), what).to(wide) for each in passes])
        for when in ("before", "after")
        for what in ("mean", "variance")
    )
    mean = (new_mean - (1 - momentum) * old_mean) / momentum
    variance = ((new_variance - (1 - momentum) * old_variance) / momentum).clamp_min(0) + eps
    squares = torch.stack([(mean - old_mean).square() / (old_variance + eps), (variance / (old_variance + eps)).log().square()], dim=1)
    found = torch.zeros(len(passes), 2, dtype=wide, device=device).index_add_(0, owner, squares)
    return found / sizes.unsqueeze(1).to(device)


def _momentum(module: Any) -> float | None:
    momentum = getattr(module, "momentum", None)
    if momentum is None and isinstance(getattr(module, "num_batches_tracked", None), torch.Tensor):
        # Cumulative average: on an accelerator, counting would mean waiting for it.
        counted = module.num_batches_tracked
        return 1.0 / max(int(counted), 1) if counted.device.type == "cpu" else None
    return float(momentum) if isinstance(momentum, (int, float)) else None


def _is_plain(module: nn.Module) -> bool:
    """Whether torch's own code moved the running statistics."""
    return isinstance(module, _BATCH_NORM) and type(module).forward.__module__.startswith("torch.") and module.track_running_stats
