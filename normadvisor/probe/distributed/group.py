"""One of several ranks, as a probe sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from normadvisor.probe.distributed.batch_norm import RankStatistics
from normadvisor.probe.distributed.gradients import average_gradients, same_weights
from normadvisor.probe.distributed.joining import join_measurements
from normadvisor.probe.distributed.ranks import Ranks
from normadvisor.probe.distributed.wrappers import bare, copies, exchanges

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.probe.distributed.link import Link
    from normadvisor.types import Measurements

__all__ = ["GroupRanks"]


class GroupRanks(Ranks):
    """See :class:`Ranks`.

    Args:
        link: to the other ranks.

    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.rank = link.rank
        self.world_size = link.world_size
        self._samples: list[int] = []
        self._statistics: dict[str, dict[str, float | bool]] = {}

    def at(self, where: str) -> None:
        """See :class:`Ranks`."""
        self.link.lookout.at(where)

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - as the base class
        """See :class:`Ranks`."""
        return bool(self.link.max(torch.tensor([int(flag)], device=self.link.device)).item())

    def same_weights(self, model: nn.Module) -> None:
        """See :class:`Ranks`."""
        if not exchanges(model):
            same_weights(model, self.link)

    def average_gradients(self, model: nn.Module) -> None:
        """See :class:`Ranks`."""
        if not exchanges(model):
            average_gradients(model, self.link)

    def bare(self, model: nn.Module) -> nn.Module:
        """See :class:`Ranks`."""
        return bare(model)

    def samples(self, number: int) -> None:
        """See :class:`Ranks`."""
        self._samples.append(number)

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """See :class:`Ranks`."""
        self._samples.clear()
        statistics = RankStatistics(model)
        with statistics.watching():
            yield
        self._statistics = statistics.facts(self.link)

    def joined(self, measurements: Measurements, model: nn.Module) -> Measurements:
        """See :class:`Ranks`."""
        number = copies(model, self.world_size)
        joined = join_measurements(measurements, self.link, copies=number, samples=self._samples)
        layers = (replace(layer, facts={**layer.facts, **self._statistics.get(layer.name, {})}) for layer in joined.layers)
        return replace(joined, layers=tuple(layers))
