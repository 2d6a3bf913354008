"""What a probe asks of the processes it runs in; alone, nothing of it does anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.types import Measurements

__all__ = ["ALONE", "Ranks"]


class Ranks:
    """One process by itself; :class:`~normadvisor.probe.distributed.group.GroupRanks` is one of several.

    All ranks call the same methods in the same order; only :meth:`at`, :meth:`samples` and :meth:`bare` are free.
    """

    rank: int = 0
    world_size: int = 1

    def at(self, where: str) -> None:
        """Tell what this rank is about to do, in words that finish "rank 1 does not go on: it is at ..."."""

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - the very value that is joined
        """Whether any rank says so: for decisions that all must take alike (the budget is used up, memory ran out ...).

        Raises:
            RankError: a rank is gone, or does not answer in time.

        """
        return flag

    def least(self, number: int) -> int:
        """The smallest number of any rank: for how often all do something.

        Raises:
            RankError: a rank is gone, or does not answer in time.

        """
        return number

    def same_weights(self, model: nn.Module) -> None:
        """Give parameters and buffers the values of rank 0, in place; of sharded ones each rank keeps its part.

        Models that ``DistributedDataParallel`` or FSDP has wrapped have done so.

        Raises:
            RankError: a rank is gone, does not answer in time, or has another model.

        """

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over the ranks, as ``DistributedDataParallel`` does; wrapped models have done so.

        A parameter without a gradient on some ranks counts as zero there.

        Raises:
            RankError: a rank is gone, or does not answer in time.

        """

    def bare(self, model: nn.Module) -> nn.Module:
        """The model whose forward and backward passes wait for no other rank, where there is one (FSDP: there is none)."""
        return model

    def samples(self, number: int) -> None:
        """Tell how many samples this rank's batch of a recorded step has."""

    def tell(self, problem: str) -> bool:  # noqa: ARG002 - for whom there is nobody to tell
        """Tell the other ranks that this one cannot go on: their next exchange raises an error that says so.

        Returns:
            Whether all ranks have the same problem, so that it is none of this rank.

        """
        return True

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell the other ranks of an exception that leaves the block.

        Raises:
            RankError: the exception is a mere consequence of what went wrong on another rank.

        """
        yield

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:  # noqa: ARG002 - what several ranks look at
        """Compare what BatchNorm layers get on different ranks during the recorded steps."""
        yield

    def joined(self, measurements: Measurements, model: nn.Module) -> Measurements:  # noqa: ARG002 - what several ranks look at
        """What all ranks measured, as of one batch that is the batches of all: the same on every rank.

        Raises:
            RankError: a rank is gone, does not answer in time, or measured another model.

        """
        return measurements


ALONE = Ranks()
"""The only process."""
