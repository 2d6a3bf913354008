"""Which steps are recorded."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

__all__ = ["Schedule"]

PATIENCE: Final = 32
"""Steps of others after which an optimizer whose step is to be recorded is waited for no longer, until it steps again. Critics of GANs are
trained five times as often as generators (Arjovsky et al., 2017); an optimizer of another phase of training may never step again."""


@dataclass(slots=True)
class _Counter:
    """Steps of one optimizer."""

    done: int = 0
    next: int = 0
    """First step that is to be recorded."""
    waited: int = 0
    """Steps of others since that one was waited for."""


class Schedule:
    """Record one of ``every`` steps of each optimizer, its first included.

    Optimizers are counted each for itself: of two that take turns, one of a hundred steps would otherwise always be the same one's.

    Args:
        every: at least 1.

    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._counters: dict[Hashable, _Counter] = {}

    @property
    def due(self) -> bool:
        """Whether what happens now is to be recorded, because a step may follow that is to be recorded.

        Until an optimizer steps for the second time, another one may be about to step for the first.
        """
        counters = self._counters.values()
        return self.done < 2 or any(one.done >= one.next and one.waited < PATIENCE for one in counters)

    @property
    def done(self) -> int:
        """Steps of the optimizer that has made most of them."""
        return max((one.done for one in self._counters.values()), default=0)

    def stepped(self, optimizer: Hashable, *, recorded: bool) -> int | None:
        """Count a step.

        Args:
            optimizer: whose.
            recorded: whether everything since the step before was recorded.

        Returns:
            The number of the step, from 0, if its record is to be kept.

        """
        for counter in self._counters.values():
            counter.waited += 1
        counter = self._counters.setdefault(optimizer, _Counter())
        counter.waited = 0
        step = counter.done
        counter.done += 1
        if not recorded or step < counter.next:
            return None
        counter.next = (step // self.every + 1) * self.every
        return step

    def expect(self, optimizer: Hashable) -> None:
        """Wait for the first step of this optimizer."""
        self._counters.setdefault(optimizer, _Counter())

    def forget(self, optimizer: Hashable) -> None:
        """Wait for no step of this optimizer."""
        self._counters.pop(optimizer, None)
