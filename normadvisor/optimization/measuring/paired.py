"""Two ways to do the same, timed side by side."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from normadvisor.optimization.measuring.busy import Watch
from normadvisor.optimization.measuring.clock import Clock
from normadvisor.optimization.measuring.refusal import Busy, NotMeasured
from normadvisor.types.optimization import Ratio

__all__ = ["Effort", "joined", "paired"]

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
    decisive: float = 1.03
    """The ratio on which something hangs: a spread that is wide on one side of it does not matter."""


_WARM = 3
"""Calls before anything is timed: the first allocates, chooses algorithms and fills caches."""
_WINDOW = 0.3
"""Seconds after which it is asked what others computed: the counters of the system move in steps of 10 ms a core."""
_SPREAD = 0.25
"""Distance of the quartiles, relative to the median, beyond which timings say nothing."""


def paired(before: Run, after: Run, clock: Clock, watch: Watch, effort: Effort | None = None) -> Ratio:
    """How many times faster ``after`` is.

    Both run by turns, before after after before and then the other way around, so that a machine that grows slower or faster meanwhile
    treats both alike; one such round is a pair. Rounds during which other processes computed too much are left out.

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
    if (found.high - found.low) > _SPREAD * found.median and found.low < effort.decisive <= found.high and not effort.tolerant:
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
            self.clock.seconds(run, _WARM - 1)
            once = max(self.clock.seconds(run, 1), 1e-9)
            repeats.append(max(1, math.ceil(self.effort.sample / once)))
            self.longest += 2 * once * repeats[-1]
        self.repeats = (repeats[0], repeats[1])

    def enough(self, passed: float) -> bool:
        """Whether it is."""
        count, effort = len(self.ratios), self.effort
        if count >= effort.pairs or (count >= effort.least and passed + self.longest > effort.seconds):
            return True
        if count < 2 * effort.least:
            return False
        found = self.ratio()
        return found.high - found.low < effort.narrow * found.median

    def window(self, watch: Watch) -> None:
        """Some rounds, taken or left out together."""
        mark = watch.mark()
        made: list[tuple[float, float]] = []
        begin = time.monotonic()
        while not made or (time.monotonic() - begin < _WINDOW and len(self.ratios) + len(made) < self.effort.pairs):
            made.append(self._round())
        foreign = watch.foreign(mark)
        if foreign > watch.allowed and not self.effort.tolerant:
            self.foreign = foreign
            return
        for old, new in made:
            self.ratios.append(old / new)
            self.times[0].append(old)
            self.times[1].append(new)

    def _round(self) -> tuple[float, float]:
        """Mean seconds of a call of either."""
        order = (1, 0, 0, 1) if self._turned else (0, 1, 1, 0)
        self._turned = not self._turned
        runs, sums = (self.before, self.after), [0.0, 0.0]
        for which in order:
            sums[which] += self.clock.seconds(runs[which], self.repeats[which]) / 2
        return max(sums[0], 1e-12), max(sums[1], 1e-12)

    def ratio(self) -> Ratio:
        low, median, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        before, after = (statistics.median(times) for times in self.times)
        return Ratio(median=median, low=low, high=high, pairs=len(self.ratios), before=before, after=after)


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
