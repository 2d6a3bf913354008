"""How far the batch statistics of BatchNorm layers differ between ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from normadvisor.probe.recording.layers import unwrapped, walk

if TYPE_CHECKING:
    from normadvisor.probe.distributed.link import Link

__all__ = ["RankStatistics"]

_MOST = 2**20
"""Values of an input that are looked at; of a larger one every so many positions are."""


class RankStatistics:
    """Means and variances, by channel and step, of what BatchNorm layers in train mode get on this rank."""

    def __init__(self, model: nn.Module) -> None:
        self._layers = {name: module for name, module in walk(unwrapped(model)) if isinstance(module, _BatchNorm)}
        self._seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {name: [] for name in self._layers}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at every forward pass that may be followed by a backward pass."""
        handles = []
        for name, module in self._layers.items():

            def look(module: nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
                if module.training and torch.is_grad_enabled() and inputs and isinstance(inputs[0], torch.Tensor):
                    self._seen[name].append(_moments(inputs[0].detach()))

            handles.append(module.register_forward_pre_hook(look))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def facts(self, link: Link) -> dict[str, dict[str, float | bool]]:
        """``bn_rank_gap``, ``bn_rank_shift`` and ``bn_sync`` by layer; layers that some rank did not run as often are missing.

        Between the ranks i, j of R, the distance of a channel's batch means is |m_i - m_j| / s, where s² is the variance of the values of
        all ranks together; its mean square over all pairs is 2/(R - 1) (Σ m² - (Σ m)²/R) / s². ``bn_rank_gap`` is its root, over channels
        and steps too: of n independent values per rank and channel it is √(2/n).

        ``bn_rank_shift`` is the part that does not change from step to step, as a standard deviation between ranks: the variance between
        ranks of the means over steps, less what the variance within ranks explains of it (one-way analysis of variance).

        Raises:
            RankError: a rank is gone, or does not answer in time.

        """
        counts = torch.tensor([len(seen) for seen in self._seen.values()], dtype=torch.int64, device=link.device)
        if not counts.numel():
            return {}
        both: list[int] = link.max(torch.cat([counts, -counts])).tolist()
        most, least = both[: len(counts)], [-count for count in both[len(counts) :]]
        names = [name for name, high, low in zip(self._seen, most, least, strict=True) if high == low > 0]
        if not names:
            return {}
        means = [torch.stack([mean for mean, _ in self._seen[name]]).double().to(link.device) for name in names]
        variances = [torch.stack([variance for _, variance in self._seen[name]]).double().to(link.device) for name in names]
        mean, variance = _flat(means), _flat(variances)
        sums = link.sum(torch.stack([mean, mean.square(), variance]))
        steps = [part.shape[0] for part in means]
        sizes = [part.numel() for part in means]
        over_ranks = torch.split(mean - sums[0] / link.world_size, sizes)
        shifts = [part.view(shape.shape) for part, shape in zip(over_ranks, means, strict=True)]
        lasting = _flat([part.mean(0).square() for part in shifts])
        moving = _flat([part.var(0) if len(part) > 1 else torch.full_like(part[0], torch.nan) for part in shifts])
        between = torch.split(link.sum(torch.stack([lasting, moving])), [part.shape[1] for part in means], dim=1)
        return {
            name: _facts(totals.view(3, count, -1), parts, link.world_size) | {"bn_sync": isinstance(self._layers[name], nn.SyncBatchNorm)}
            for name, totals, parts, count in zip(names, torch.split(sums, sizes, dim=1), between, steps, strict=True)
        }


def _moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over all but the second axis; of large inputs from evenly spaced positions of every sample."""
    flat = values.reshape(values.shape[0], values.shape[1], -1)
    if flat.numel() > _MOST:
        flat = flat[:, :, :: min(flat.shape[2], -(-flat.numel() // _MOST))]
    variance, mean = torch.var_mean(flat.float(), dim=(0, 2), correction=0)
    return mean, variance


def _flat(parts: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _facts(sums: torch.Tensor, between: torch.Tensor, ranks: int) -> dict[str, float | bool]:
    """From sums over ranks of mean, squared mean and variance (3, steps, channels), and of what lasts and what moves (2, channels)."""
    mean, square, variance = sums
    spread = (square - mean.square() / ranks).clamp_min(0)
    joint = (variance + spread) / ranks
    varies = joint > 0
    facts: dict[str, float | bool] = {}
    if bool(varies.any()):
        facts["bn_rank_gap"] = float((2 / (ranks - 1) * spread[varies] / joint[varies]).mean().sqrt())
        typical = joint.mean(0)
        alive = typical > 0
        # Deviations from the mean over ranks have (R - 1)/R of the variance of what deviates, on both sides alike.
        lasting, moving = between[:, alive] / (ranks - 1)
        shift = ((lasting - moving / sums.shape[1]) / typical[alive]).mean()
        if bool(shift.isfinite()):
            facts["bn_rank_shift"] = float(shift.clamp_min(0).sqrt())
    return facts
