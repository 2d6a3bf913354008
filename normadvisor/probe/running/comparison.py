"""Passes in different modes on the same batches: what all comparisons of modes share."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from normadvisor.probe.running.batchnorm import NormLayer
from normadvisor.probe.running.capture import Snapshot
from normadvisor.probe.running.samples import Batch, UnequalSamplesError, gather
from normadvisor.probe.running.session import Session

__all__ = ["COMPARED", "NEGLIGIBLE", "PASSES", "REPEATS", "Modes", "anchors", "batch_of_number", "beside_others", "rms", "why_no_gap"]

PASSES = 8
"""Batches that statistics are settled on and compared between."""
REPEATS = 4
"""Train passes on one batch."""
ANCHORS = 4
"""Most samples that stay while the rest of their batch changes: at most one in eight."""
COMPARED = 4
"""Batches on which norms in train mode and in eval mode are compared."""
NEGLIGIBLE = 1e-6
"""Relative differences below this are rounding of float32."""


@dataclass(slots=True)
class Modes:
    """A model whose modes are compared, and what is known of its BatchNorm layers so far."""

    session: Session
    layers: dict[str, NormLayer]
    passes: int
    count: int
    """Different batches."""
    uses: dict[str, bool] = field(default_factory=dict)
    settled: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def norms_in_train(self) -> dict[nn.Module, bool]:
        """Flags of the third mode: BatchNorm layers that use the batch in training, and what they consist of."""
        flags = dict(self.session.eval_flags)
        for name, layer in self.layers.items():
            if self.uses.get(name):
                flags.update({part: self.session.train_flags[part] for part in layer.module.modules()})
        return flags

    def run(self, batch: Batch, flags: Mapping[nn.Module, bool]) -> Any:
        """One forward pass in a mode."""
        with self.session.mode(flags), torch.no_grad():
            return self.session.forward(batch)


def why_no_gap(evaluated: Snapshot) -> str:
    """Why nothing can be compared with an eval output."""
    if not evaluated:
        return "the eval output holds no tensor of real numbers"
    return "the eval output is zero or not finite"


def batch_of_number(modes: Modes, number: int) -> Batch:
    """Batch ``number``; put together anew from the samples of all where there are fewer than :data:`PASSES` different ones."""
    session = modes.session
    if modes.count > number:
        return session.source.batch(number)
    batches = [session.source.batch(i) for i in range(modes.count)]
    size = batches[0].size
    if size is None or size * modes.count < 2:
        return batches[number % modes.count]
    chooser = random.Random(number)  # noqa: S311 -- which samples stand together is no secret
    pool = [(i, sample) for i, batch in enumerate(batches) for sample in range(batch.size or 0)]
    try:
        return gather(batches, [chooser.choice(pool) for _ in range(size)], key=number)
    except UnequalSamplesError:
        return batches[number % modes.count]


def beside_others(modes: Modes, first: Batch, number: int) -> Batch | None:
    """The first samples of the first batch beside others; ``None`` where samples cannot be told apart."""
    size = first.size
    session = modes.session
    if size is None or size < 2 or session.one_size:
        return None
    stay = [(0, sample) for sample in range(anchors(size))]
    try:
        if modes.count > number:
            other = session.source.batch(number)
            return gather([first, other], [*stay, *((1, sample) for sample in range(len(stay), size))], key=number)
        batches = [session.source.batch(i) for i in range(modes.count)]
        pool = [(i, sample) for i, batch in enumerate(batches) for sample in range(batch.size or 0) if (i, sample) not in stay]
        chooser = random.Random(1000 + number)  # noqa: S311 -- which samples stand together is no secret
        return gather(batches, [*stay, *(chooser.choice(pool) for _ in range(size - len(stay)))], key=number)
    except (UnequalSamplesError, IndexError):
        return None


def anchors(size: int) -> int:
    """Samples of a batch that stay while the others change."""
    return max(1, min(ANCHORS, size // 8))


def rms(values: list[float]) -> float:
    """Root mean square."""
    return float((sum(value * value for value in values) / len(values)) ** 0.5)
