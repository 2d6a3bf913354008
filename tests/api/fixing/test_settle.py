"""Which of several fixes hold together: found with few trials, the rest is kept."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.api.fixing.choices import Candidate, Choice
from normadvisor.api.fixing.offers import Offer
from normadvisor.api.fixing.settle import Settler
from normadvisor.api.fixing.verdict import Attempt, Failure, State, Verdict
from normadvisor.api.static.check import Reading
from normadvisor.types import Applicability, Confidence, Finding, Fix, Severity


def attempts(number):
    made = []
    for position in range(number):
        finding = Finding(
            rule=f"NA{position:03}", name="n", severity=Severity.INFO, confidence=Confidence.CONFIRMED, message="m", path="a.py", line=position
        )
        fix = Fix(Applicability.SAFE, "d")
        made.append(Attempt(Choice(finding, fix), Offer(Candidate(finding), ())))
    return made


STATE = State(reading=Reading(), outcomes=())


class Judge:
    """Finds fault with certain fixes, and with certain pairs of fixes."""

    def __init__(self, bad=(), pairs=(), *, certain=False, suspects=None):
        self.bad, self.pairs, self.certain, self.suspects = set(bad), [set(pair) for pair in pairs], certain, suspects
        self.trials = 0

    def __call__(self, tried):
        self.trials += 1
        here = set(tried)
        guilty = [{one} for one in self.bad & here] + [pair for pair in self.pairs if pair <= here]
        suspects = here if self.suspects is None else here & set(self.suspects)
        return Verdict(state=STATE, failures=tuple(Failure("no", frozenset(one if self.certain else suspects), self.certain) for one in guilty))


@pytest.mark.parametrize("certain", [False, True])
@given(number=st.integers(1, 12), data=st.data())
def test_exactly_the_culprits_are_left_out(certain, number, data):
    made = attempts(number)
    bad = data.draw(st.sets(st.sampled_from(made)))
    settler = Settler(Judge(bad, certain=certain))
    assert settler.settled([], made) == [attempt for attempt in made if attempt not in bad]
    assert set(settler.failed) == bad


def test_one_culprit_among_many_takes_a_logarithm_of_trials():
    made = attempts(64)
    judge = Judge(made[37:38])
    settler = Settler(judge)
    assert settler.settled([], made) == [*made[:37], *made[38:]]
    assert judge.trials <= 2 * math.log2(64) + 2


def test_told_at_once_takes_two_trials():
    made = attempts(64)
    judge = Judge(made[3:9], certain=True)
    assert Settler(judge).settled([], made) == [*made[:3], *made[9:]]
    assert judge.trials == 2


def test_of_a_pair_that_does_not_go_together_the_earlier_one_is_kept():
    made = attempts(6)
    settler = Settler(Judge(pairs=[made[1:5:3]]))
    assert settler.settled([], made) == [*made[:4], made[5]]
    assert set(settler.failed) == {made[4]}


def test_what_no_failure_is_about_is_not_tried_in_halves():
    made = attempts(40)
    judge = Judge(made[7:8], suspects=made[6:8])
    assert Settler(judge).settled([], made) == sorted([*made[:7], *made[8:]], key=lambda item: (item in made[6:8], made.index(item)))
    assert judge.trials <= 5


def test_what_is_held_is_part_of_every_trial():
    made = attempts(3)
    settler = Settler(Judge(pairs=[(made[0], made[2])]))
    assert settler.settled(made[:1], made[1:]) == made[1:2]


def test_what_differs_is_said_rather_than_what_could_not_be_compared():
    (only,) = attempts(1)
    failures = (Failure("a", frozenset({only}), unprovable=True), Failure("b", frozenset({only})))
    settler = Settler(lambda _tried: Verdict(state=STATE, failures=failures))
    assert settler.settled([], [only]) == []
    assert settler.failed == {only: failures[1]}
