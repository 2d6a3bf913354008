"""One of several ranks, as a probe sees it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from normadvisor.errors import NormAdvisorError
from normadvisor.probe.distributed.batch_norm import RankStatistics
from normadvisor.probe.distributed.gradients import average_gradients, same_weights
from normadvisor.probe.distributed.joining import join_measurements
from normadvisor.probe.distributed.ranks import Ranks
from normadvisor.probe.distributed.wrappers import bare, copies, exchanges, flat_sizes, has_nameless_parameters

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.probe.distributed.link import Link
    from normadvisor.types import LayerMeasurements, Measurements

__all__ = ["GroupRanks"]

_COMMON = 2.0
"""Seconds in which a problem of the model, rather than of a rank, shows on all ranks."""
_PACKAGE = str(Path(__file__).parents[2])


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

    def least(self, number: int) -> int:
        """See :class:`Ranks`."""
        return -int(self.link.max(torch.tensor([-number], device=self.link.device)).item())

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

    def tell(self, problem: str) -> bool:
        """See :class:`Ranks`."""
        self.link.lookout.tell(f"rank {self.rank}: {problem}")
        return self.link.lookout.is_common(problem, _COMMON)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """See :class:`Ranks`."""
        try:
            yield
        except BaseException as error:
            known = self.link.explained(error)
            if known is None:
                self.link.lookout.tell(f"rank {self.rank}: {_words(error)}")
                raise
            if known is error:
                raise
            raise known from error

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
        sizes = flat_sizes(model)

        def whole(layer: LayerMeasurements) -> LayerMeasurements:
            parameters, trainable = sizes.get(layer.name, (layer.parameters, layer.trainable))
            facts = {**layer.facts, **self._statistics.get(layer.name, {})}
            return replace(layer, facts=facts, parameters=parameters, trainable=trainable)

        mine = replace(measurements, layers=tuple(map(whole, measurements.layers)))
        joined = join_measurements(mine, self.link, copies=copies(model, self.world_size), samples=self._samples)
        return _without_layers_of_parameters(joined) if has_nameless_parameters(model) else joined


def _without_layers_of_parameters(measurements: Measurements) -> Measurements:
    reason = "FSDP took the parameters away from their layers (use_orig_params=False); wrap the model with use_orig_params=True"
    missing = dict.fromkeys(("grad_norm", "weight_norm", "update_ratio"), reason)
    series = {key: values for key, values in measurements.series.items() if key not in missing}
    return replace(measurements, series=series, missing={**measurements.missing, **missing})


def _words(error: BaseException) -> str:
    if isinstance(error, NormAdvisorError):
        return f"{error.message} ({error.location})" if error.location else error.message
    words = " ".join(str(error).split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith((_PACKAGE, "<"))]
    own = [frame for frame in frames if "/torch/" not in frame.filename] or frames
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name})" if own else ""
    return f"{type(error).__name__}{': ' if words else ''}{words}{place}"
