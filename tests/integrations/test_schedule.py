"""Which steps are recorded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from normadvisor.integrations.schedule import PATIENCE, Schedule


class One:
    """Stands for an optimizer: it can be hashed and referenced weakly."""


def run(every: int, turns: list[One]) -> list[tuple[int, int]]:
    """Steps that are kept: whose, and its number."""
    schedule, kept = Schedule(every), []
    for turn in turns:
        recorded = schedule.due
        number = schedule.stepped(turn, recorded=recorded)
        if number is not None:
            kept.append((turn, number))
    return kept


@given(st.integers(1, 20), st.integers(0, 100))
def test_one_optimizer_has_every_nth_step_recorded(every, steps):
    one = One()
    assert run(every, [one] * steps) == [(one, step) for step in range(0, steps, every)]


def test_both_of_two_that_take_turns_are_recorded():
    first, second = One(), One()
    assert run(4, [first, second] * 8) == [(first, 0), (second, 0), (first, 4), (second, 4)]


def test_generator_that_steps_after_five_steps_of_the_critic():
    critic, generator = One(), One()
    kept = run(10, ([critic] * 5 + [generator]) * 30)
    # Nobody knows of the generator before its first step, and the critic's second step ended the first round.
    assert [number for who, number in kept if who is critic] == list(range(0, 150, 10))
    assert [number for who, number in kept if who is generator] == [1, 10, 20]


def test_optimizer_that_never_steps_again_is_not_waited_for():
    first, second = One(), One()
    schedule = Schedule(10)
    for _ in range(10):
        schedule.stepped(first, recorded=schedule.due)
    waited = 0
    for _ in range(205):
        due = schedule.due
        waited += due
        schedule.stepped(second, recorded=due)
    assert waited == PATIENCE + len(range(40, 205, 10))
    assert not schedule.due
    assert schedule.stepped(first, recorded=False) is None
    assert schedule.due
    assert schedule.stepped(first, recorded=True) == 11


def test_optimizer_that_is_expected_has_its_first_step_recorded():
    critic, generator = One(), One()
    schedule = Schedule(100)
    schedule.expect(critic)
    schedule.expect(generator)
    turns = [critic] * 5 + [generator]
    assert [schedule.stepped(turn, recorded=schedule.due) for turn in turns] == [0, None, None, None, None, 0]
    assert not schedule.due

