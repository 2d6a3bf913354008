"""Finds out which of several fixes hold together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from normadvisor.api.fixing.verdict import Attempt, Failure, Verdict

__all__ = ["Settler"]


@dataclass(slots=True)
class Settler:
    """Tries fixes together, and in halves where they fail, until it is known which ones are to blame.

    With n fixes of which k fail this takes one trial where k is 0, and in the order of ``k log n`` otherwise.

    Args:
        judge: applies fixes and says what came of it.

    """

    judge: Callable[[Sequence[Attempt]], Verdict]
    failed: dict[Attempt, Failure] = field(init=False, default_factory=dict)
    """Fixes that do not hold, and why."""
    _judged: dict[frozenset[Attempt], Verdict] = field(init=False, default_factory=dict)

    def settled(self, held: Sequence[Attempt], tried: Sequence[Attempt]) -> list[Attempt]:
        """Those of ``tried`` that hold on top of ``held``, which hold themselves; what came of the others stands in :attr:`failed`."""
        left = list(tried)
        while left:
            failures = self.verdict([*held, *left]).failures
            if not failures:
                return left
            certain = {attempt: failure for failure in failures if failure.certain for attempt in failure.suspects}
            guilty = {attempt: failure for attempt, failure in certain.items() if attempt in left}
            if len(left) == 1:
                # What differs says more than what could not be compared.
                guilty = {left[0]: min(failures, key=lambda failure: failure.unprovable)}
            if not guilty:
                return self._halved(held, left, frozenset[Attempt]().union(*(failure.suspects for failure in failures)))
            self.failed |= guilty
            left = [attempt for attempt in left if attempt not in guilty]
        return []

    def verdict(self, attempts: Sequence[Attempt]) -> Verdict:
        """What comes of fixes; each set is tried once."""
        key = frozenset(attempts)
        if key not in self._judged:
            self._judged[key] = self.judge(attempts)
        return self._judged[key]

    def _halved(self, held: Sequence[Attempt], tried: Sequence[Attempt], suspects: frozenset[Attempt]) -> list[Attempt]:
        """The same, of fixes that failed together: one half after the other, those that no failure is about first."""
        clear = [attempt for attempt in tried if attempt not in suspects]
        suspected = [attempt for attempt in tried if attempt in suspects] or list(tried)
        good: list[Attempt] = [] if len(clear) in {0, len(tried)} else self.settled(held, clear)
        middle = (len(suspected) + 1) // 2
        for half in (suspected[:middle], suspected[middle:]):
            good += self.settled([*held, *good], half)
        return good
