"""Two ways to do the same, timed side by side."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from normadvisor.optimization.measuring.busy import Watch
from normadvisor.optimization.measuring.clock import Clock
from normadvisor.optimization.measuring.refusal import Busy, NotMeasured
from normadvisor.types.optimization import Ratio

__all__ = ["PASSES", "Effort", "joined", "paired"]

Run = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is done for one comparison."""

    seconds: float = 5.0
    """For the comparison, warming up included; it takes longer only where :attr:`least` pairs do."""
    pairs: int = 25
    """Pairs after which it is enough."""
    narrow: float = 0.02
    """Distance of the quartiles, relative to the median, from which on fewer pairs are enough as well."""
    least: int = 5
    """Pairs without which there are no quartiles worth the name."""
    sample: float = 0.01
    """Seconds that a sample lasts at least: calls are repeated, so that the clock's own steps do not count."""
    patience: float = 10.0
    """Seconds beyond :attr:`seconds` that a busy machine is waited for."""
    tolerant: bool = False
    """Whether a machine that is busy with other things is measured on all the same."""
    lines: tuple[float, ...] = (1.03,)
    """Ratios on which something hangs. Once the pairs lie on one side of each beyond chance, it is enough; and a spread that is wide on
    one side of them does not matter."""


_WARM = 3
"""Calls before anything is timed: the first allocates, chooses algorithms and fills caches."""
_SLOW = 0.1
"""Seconds of a call from which on it is run less often: what else the machine does takes turns within it."""
PASSES = 4 + 2 * Effort().least
"""Calls, of either together, that a comparison of slow calls has at least."""
_CHANCE = 0.01
"""How likely pairs may lie on one side of a line by luck alone, were the true median on it: the sign test, one-sided. All of seven pairs do
(0.8%), ten of eleven (0.6%), or twelve of fourteen (0.6%)."""
_WINDOW = 0.3
"""Seconds after which it is asked what others computed: the counters of the system move in steps of 10 ms a core."""
_LEAST_WINDOW = 0.1
"""Seconds before which it is not asked, though there are pairs enough."""
_SPREAD = 0.25
"""Distance of the quartiles, relative to the median, beyond which timings say nothing."""


def paired(before: Run, after: Run, clock: Clock, watch: Watch, effort: Effort | None = None) -> Ratio:
    """How many times faster ``after`` is.

    Both run by turns, before after after before and then the other way around, so that a machine that grows slower or faster meanwhile
    treats both alike; one such round is a pair. Calls of a tenth of a second and more run once in a round, before after and then after
    before. Rounds during which other processes computed too much are left out.

    Args:
        before: one call of the old way.
        after: one of the new.
        clock: of the device.
        watch: sees what other processes do.
        effort: how much to do.

    Raises:
        Busy: other processes compute too much.
        NotMeasured: the times vary too much to say anything.
        Exception: whatever the calls raise.

    """
    effort = effort or Effort()
    begin = time.monotonic()
    rounds = _Rounds(before, after, clock, effort)
    with _steady():
        rounds.warm_up()
        while not rounds.enough(time.monotonic() - begin):
            rounds.window(watch)
            longest = effort.seconds + effort.patience + rounds.longest * effort.least
            if len(rounds.ratios) < effort.least and time.monotonic() - begin > longest:
                raise Busy(watch.words(rounds.foreign))
    found = rounds.ratio()
    undecided = any(found.low < line <= found.high for line in effort.lines)
    if (found.high - found.low) > _SPREAD * found.median and undecided and not effort.tolerant:
        raise NotMeasured(f"times vary too much: half of the ratios lie between {found.low:.2f} and {found.high:.2f}")
    return found


@contextmanager
def _steady() -> Iterator[None]:
    """No garbage is collected while something is timed."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(slots=True)
class _Rounds:
    """The rounds of one comparison."""

    before: Run
    after: Run
    clock: Clock
    effort: Effort
    repeats: tuple[int, int] = (1, 1)
    twice: bool = True
    """Whether either runs twice in a round."""
    longest: float = 0.0
    """Seconds of one round, about."""
    ratios: list[float] = field(default_factory=list)
    times: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    foreign: float = 0.0
    """Cores that others used when a window was left out."""
    _turned: bool = False

    def warm_up(self) -> None:
        """Run both a few times, and see how often they fit into a sample."""
        repeats = []
        for run in (self.before, self.after):
            slow = self.clock.seconds(run, 1) > _SLOW
            once = max(self.clock.seconds(run, 1 if slow else _WARM - 1), 1e-9)
            repeats.append(max(1, math.ceil(self.effort.sample / once)))
            self.longest += once * repeats[-1]
        self.repeats = (repeats[0], repeats[1])
        self.twice = self.longest < 2 * _SLOW
        self.longest *= 2 if self.twice else 1

    def enough(self, passed: float) -> bool:
        """Whether it is."""
        late = len(self.ratios) >= self.effort.least and passed + self.longest > self.effort.seconds
        return late or self._settled(self.ratios)

    def _settled(self, ratios: Sequence[float]) -> bool:
        """Whether more pairs would hardly tell more."""
        count, effort = len(ratios), self.effort
        if count >= effort.pairs:
            return True
        if count < effort.least:
            return False
        if effort.lines and all(_one_sided(ratios, line) for line in effort.lines):
            return True
        low, median, high = _quartiles(ratios)
        return count >= 2 * effort.least and high - low < effort.narrow * median

    def window(self, watch: Watch) -> None:
        """Some rounds, taken or left out together."""
        mark = watch.mark()
        made: list[tuple[float, float]] = []
        begin = time.monotonic()
        while not made or self._goes_on(made, time.monotonic() - begin):
            made.append(self._round())
        foreign = watch.foreign(mark)
        if foreign > watch.allowed and not self.effort.tolerant:
            self.foreign = foreign
            return
        for old, new in made:
            self.ratios.append(old / new)
            self.times[0].append(old)
            self.times[1].append(new)

    def _goes_on(self, made: Sequence[tuple[float, float]], passed: float) -> bool:
        """Whether there are more rounds before it is asked what others computed."""
        if _LEAST_WINDOW <= passed < _WINDOW:
            return not self._settled([*self.ratios, *(old / new for old, new in made)])
        return passed < _WINDOW

    def _round(self) -> tuple[float, float]:
        """Mean seconds of a call of either."""
        first = int(self._turned)
        order = (first, 1 - first, 1 - first, first) if self.twice else (first, 1 - first)
        self._turned = not self._turned
        runs, sums = (self.before, self.after), [0.0, 0.0]
        for which in order:
            sums[which] += self.clock.seconds(runs[which], self.repeats[which]) * 2 / len(order)
        return max(sums[0], 1e-12), max(sums[1], 1e-12)

    def ratio(self) -> Ratio:
        low, median, high = _quartiles(self.ratios)
        before, after = (statistics.median(times) for times in self.times)
        return Ratio(median=median, low=low, high=high, pairs=len(self.ratios), before=before, after=after)


def _quartiles(ratios: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, median, high


def _one_sided(ratios: Sequence[float], line: float) -> bool:
    """Whether the median lies on one side of a line, by the sign test."""
    below = sum(ratio < line for ratio in ratios)
    ways = sum(math.comb(len(ratios), number) for number in range(min(below, len(ratios) - below) + 1))
    return ways / 2.0 ** len(ratios) <= _CHANCE


def joined(ratios: Iterable[tuple[Ratio, int]]) -> Ratio | None:
    """One ratio for several places, each counted as often as it occurs: geometric means of the ratios, sums of the times.

    The fewest pairs are told, and that it was measured before only where all of it was. ``None`` for no places at all.
    """
    every = [(ratio, count) for ratio, count in ratios if count]
    if not every:
        return None
    places = sum(count for _, count in every)

    def mean(name: str) -> float:
        return math.exp(sum(count * math.log(getattr(ratio, name)) for ratio, count in every) / places)

    return Ratio(
        median=mean("median"), low=mean("low"), high=mean("high"), pairs=min(ratio.pairs for ratio, _ in every),
        before=sum(count * ratio.before for ratio, count in every), after=sum(count * ratio.after for ratio, count in every),
        cached=all(ratio.cached for ratio, _ in every),
    )  # fmt: skip
