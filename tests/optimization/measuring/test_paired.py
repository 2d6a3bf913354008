from itertools import count

import pytest

from normadvisor.optimization.measuring.busy import Mark, Watch
from normadvisor.optimization.measuring.paired import Effort, joined, paired
from normadvisor.optimization.measuring.refusal import NotMeasured
from normadvisor.types.optimization import Ratio


def before():
    return "before"


def after():
    return "after"


class Clock:
    """Takes each call to last what a list says, one number after the other."""

    def __init__(self, **times):
        self.times = {name: iter(values) for name, values in times.items()}
        self.order = []

    def seconds(self, run, repeats):
        self.order.append(run())
        return next(self.times[run()])


def steady(seconds):
    return (seconds for _ in count())


def idle():
    return Watch(1, cores=4, mark=lambda: Mark(0.0, 0.0, 0.0))


def busy(cores, seconds=1.0):
    """Others compute on this many cores all the time."""
    ticks = count()

    def mark():
        at = next(ticks) * seconds
        return Mark(at, at * (cores + 1), at)

    return Watch(4, cores=4, mark=mark)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("normadvisor.optimization.measuring.paired._WINDOW", 0.0)


def test_a_ratio_is_that_of_the_times():
    found = paired(before, after, Clock(before=steady(0.02), after=steady(0.01)), idle(), Effort(pairs=6))
    assert found == Ratio(median=2.0, low=2.0, high=2.0, pairs=6, before=0.02, after=0.01)


def test_both_run_by_turns_in_either_order():
    clock = Clock(before=steady(0.02), after=steady(0.01))
    paired(before, after, clock, idle(), Effort(pairs=2, least=2))
    warm_up = ["before", "before", "after", "after"]
    assert clock.order == [*warm_up, "before", "after", "after", "before", "after", "before", "before", "after"]


def test_slow_calls_run_once_in_a_round():
    clock = Clock(before=steady(0.2), after=steady(0.1))
    found = paired(before, after, clock, idle(), Effort(pairs=2, least=2))
    assert clock.order == ["before", "before", "after", "after", "before", "after", "after", "before"]
    assert found == Ratio(median=2.0, low=2.0, high=2.0, pairs=2, before=0.2, after=0.1)


def test_a_machine_that_grows_slower_treats_both_alike():
    slower = (0.01 * 1.01**step for step in count())

    class Slowing(Clock):
        def seconds(self, run, repeats):
            return next(slower)

    found = paired(before, after, Slowing(), idle(), Effort(pairs=10))
    assert found.median == pytest.approx(1.0, abs=1e-3)


def test_quartiles_are_those_of_pairs():
    times = [0.01, 0.01, *(value for ratio in (1.0, 1.1, 1.2, 1.3, 1.4) for value in (0.01 * ratio, 0.01 * ratio))]
    found = paired(before, after, Clock(before=iter(times), after=steady(0.01)), idle(), Effort(pairs=5))
    assert (found.low, found.median, found.high) == pytest.approx((1.1, 1.2, 1.3))


def of(*ratios):
    """Times whose pairs have these ratios."""
    return Clock(before=iter([0.01, 0.01, *(0.01 * ratio for ratio in ratios for _ in range(2))]), after=steady(0.01))


@pytest.mark.parametrize(
    ("ratios", "lines", "pairs"),
    [
        ([2.0] * 40, (1.03,), 7),
        ([0.9] * 40, (1.03,), 7),
        ([1.0, *[2.0, 2.5] * 20], (1.03,), 11),
        ([1.0, 1.0, *[2.0, 2.5] * 20], (1.03,), 14),
        ([1.04, 1.2] * 20, (1.03,), 7),
        ([1.0, 1.2] * 20, (1.03,), 25),
        ([1.0, 1.2] * 20, (1.3,), 7),
        ([1.0, 1.2] * 20, (1.3, 1.1), 25),
        ([1.0, 1.2] * 20, (1.3, 0.9), 7),
        ([1.029, 1.031] * 20, (1.03,), 10),
        ([2.0] * 40, (), 10),
    ],
    ids=[
        "faster", "slower", "one of eleven", "two of fourteen", "on one side", "on both sides", "far from the line", "one of two lines",
        "two lines", "close together", "no line",
    ],
)  # fmt: skip
def test_what_is_settled_is_not_measured_longer(ratios, lines, pairs):
    found = paired(before, after, of(*ratios), idle(), Effort(pairs=25, seconds=600, lines=lines, tolerant=True))
    assert found.pairs == pairs


def test_a_window_ends_once_it_is_settled(monkeypatch):
    now = count()
    monkeypatch.setattr("normadvisor.optimization.measuring.paired._WINDOW", 1000.0)
    monkeypatch.setattr("normadvisor.optimization.measuring.paired._LEAST_WINDOW", 9.0)
    monkeypatch.setattr("normadvisor.optimization.measuring.paired.time.monotonic", lambda: float(next(now)))
    found = paired(before, after, of(*[2.0] * 40), idle(), Effort(pairs=25, seconds=600))
    assert found.pairs == 9


def test_short_calls_are_repeated():
    asked = []

    class Counting(Clock):
        def seconds(self, run, repeats):
            asked.append(repeats)
            return 0.001

    paired(before, after, Counting(), idle(), Effort(pairs=2, least=2, sample=0.01))
    assert asked == [1, 2, 1, 2, *[10] * 8]


def test_a_busy_machine_is_waited_for_and_then_given_up():
    with pytest.raises(NotMeasured) as refusal:
        paired(before, after, Clock(before=steady(0.02), after=steady(0.01)), busy(2.5), Effort(seconds=0.01, patience=0.05))
    assert refusal.value.reason == "the machine is busy: other processes use 2.5 of its 4 cores"


def test_a_busy_machine_is_measured_on_where_that_is_asked_for():
    found = paired(before, after, Clock(before=steady(0.02), after=steady(0.01)), busy(2.5), Effort(pairs=7, tolerant=True))
    assert found == Ratio(median=2.0, low=2.0, high=2.0, pairs=7, before=0.02, after=0.01)


def test_a_moment_of_others_is_left_out():
    loads = iter([0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0])
    done = [0.0, 0.0]

    def mark():
        done[0] += 1.0
        done[1] += next(loads) + 1.0
        return Mark(done[0], done[1], done[0])

    times = [0.01, 0.01, 0.01, 0.01, 0.9, 0.9, *([0.01] * 8)]
    found = paired(before, after, Clock(before=iter(times), after=steady(0.01)), Watch(4, cores=4, mark=mark), Effort(pairs=4, least=4))
    assert found == Ratio(median=1.0, low=1.0, high=1.0, pairs=4, before=0.01, after=0.01)


def test_times_that_vary_around_what_is_to_be_decided_say_nothing():
    times = [0.01, 0.01, *(value for ratio in (0.7, 0.8, 1.0, 1.2, 1.4) for value in (0.01 * ratio, 0.01 * ratio))]
    with pytest.raises(NotMeasured) as refusal:
        paired(before, after, Clock(before=iter(times), after=steady(0.01)), idle(), Effort(pairs=5))
    assert refusal.value.reason == "times vary too much: half of the ratios lie between 0.80 and 1.20"


def test_times_that_vary_on_one_side_are_good_enough():
    times = [0.01, 0.01, *(value for ratio in (3, 4, 5, 6, 7) for value in (0.01 * ratio, 0.01 * ratio))]
    found = paired(before, after, Clock(before=iter(times), after=steady(0.01)), idle(), Effort(pairs=5))
    assert found.median == pytest.approx(5.0)


def test_what_a_call_raises_comes_out():
    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        paired(before, broken, Clock(before=steady(0.01)), idle())


def test_places_are_joined_by_geometric_means_and_sums():
    one = Ratio(median=2.0, low=1.0, high=4.0, pairs=9, before=0.2, after=0.1, cached=True)
    other = Ratio(median=0.5, low=0.25, high=1.0, pairs=7, before=0.1, after=0.2)
    assert joined([(one, 3), (other, 1)]) == Ratio(
        median=pytest.approx(2**0.5), low=pytest.approx(0.25**0.25), high=pytest.approx(4**0.75), pairs=7,
        before=pytest.approx(0.7), after=pytest.approx(0.5),
    )  # fmt: skip


def test_no_places_have_no_ratio():
    assert joined([]) is None
