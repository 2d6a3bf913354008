"""Two models side by side: every mode on every draw, and what differences are put down to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof.compare import Compared, differences, expected, gradients_lost
from normadvisor.rewrite.proof.inputs import SIDE, Arguments, Shape, draw
from normadvisor.rewrite.proof.passes import MODES, Observed, Subject, Way
from normadvisor.rewrite.proof.result import Proof, unprovable
from normadvisor.rewrite.proof.state import carry, randomise
from normadvisor.rewrite.proof.words import told

__all__ = ["LIMIT", "TOLERANCE", "Pair", "Plan", "compared"]

TOLERANCE = 1e-11
"""Largest relative difference between equal models that needs no explanation: fifty thousand times the rounding of float64.

It is what tells an eps of 1e-12 from one of 1e-10 in front of values of size one.
"""
LIMIT = 1e-6
"""No amplification excuses more than this; the smallest mistake of a rewrite that was planted gives some 1e-4."""
_MULTIPLE = 10
"""How many times what a disturbance of the inputs by 1e-12 does may be put down to rounding.

Rounding is 2e-16 per operation, some thousand times less than that disturbance, but it arises in every layer rather than at the input
alone: the multiple leaves room for thousands of layers and sums.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How thorough a proof has to be, and what it may take."""

    draws: int
    seed: int
    tolerance: float
    seconds: float
    memory: int
    side: int = SIDE
    """What maps are made smaller to."""


class _Gradients(IntEnum):
    """What was found out about gradients, from most to least."""

    EQUAL = 0
    NEW_TENSORS = 1
    """They were compared with operations in place switched off, since the original fails with them."""
    FAIL = 2
    """The original has none: its backward pass fails."""
    NONE = 3
    """No output depends on anything that takes gradients."""


_WHAT = {
    _Gradients.EQUAL: "outputs, gradients and buffers",
    _Gradients.NEW_TENSORS: "outputs and buffers, and gradients with operations in place switched off (the original has none with them),",
    _Gradients.FAIL: "outputs and buffers (the backward pass of the original fails)",
    _Gradients.NONE: "outputs and buffers",
}


@dataclass(frozen=True, slots=True)
class _Step:
    """One comparison."""

    worst: float = 0.0
    gradients: _Gradients = _Gradients.EQUAL
    verdict: Proof | None = None
    """That the models differ, or cannot be compared."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Runs either model on the same inputs."""

    way: Way
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, subject: Subject, *, disturbed: bool = False) -> Observed:
        return subject.observe(self.way, self.args, self.kwargs, disturbed=disturbed)


@dataclass(slots=True)
class Pair:
    """Two models that should compute the same."""

    original: Subject
    changed: Subject
    key_map: KeyMap
    plan: Plan
    backward: bool = True
    """Whether gradients are compared; else outputs and buffers alone."""
    known: Observed | None = None
    """What the original gave in that very pass, where it was run before."""

    def compare(self, mode: str, args: tuple[Any, ...], kwargs: dict[str, Any], seed: int) -> _Step:
        """One pass of each."""
        run = _Run(Way(mode, seed, backward=self.backward), args, kwargs)
        try:
            observed = self.known or run(self.original)
        except RuntimeError as error:
            if not _is_overwritten(error):
                raise
            return self._compare_untrainable(run)
        return self._against(observed, run)

    def _compare_untrainable(self, run: _Run) -> _Step:
        """Where operations in place overwrite what backward needs, values as they are, and gradients of the same without them."""
        only_values = replace(run, way=replace(run.way, backward=False))
        values = only_values(self.original)
        step = self._against(values, only_values)
        if step.verdict is not None or step.gradients is _Gradients.NONE:
            return step
        apart = replace(run, way=replace(run.way, in_place=False))
        try:
            observed = apart(self.original)
        except Exception:  # noqa: BLE001 -- whatever code raises that was not meant to run so
            return replace(step, gradients=_Gradients.FAIL)
        if not self._same_values(values, observed):
            return replace(step, gradients=_Gradients.FAIL)  # another name of an overwritten tensor is read: it is not the same function
        further = self._against(observed, apart)
        return replace(further, worst=max(step.worst, further.worst), gradients=_Gradients.NEW_TENSORS)

    def _same_values(self, one: Observed, other: Observed) -> bool:
        """Whether outputs and buffers are equal."""
        compared = differences(one, replace(other, gradients=one.gradients, input_gradients=one.input_gradients))
        return all(each.error <= self.plan.tolerance for each in compared)

    def _against(self, observed: Observed, run: _Run) -> _Step:
        """Compare the changed model with what the original gave."""
        gradients = _Gradients.EQUAL if observed.differentiable else _Gradients.NONE
        try:
            found = run(self.changed)
        except Exception as error:  # noqa: BLE001 -- forward is the user's code
            return _Step(verdict=Proof(equal=False, reason=f"the changed model fails {MODES[run.way.mode]}: {told(error)}"))
        compared = list(differences(expected(observed, self.key_map), found, copied=self._copied()))
        if run.way.mode != "eval":
            compared += gradients_lost(observed, self.key_map)
        del found  # its gradients take as much memory as the model
        worst = max((each.error for each in compared), default=0.0)
        if worst <= self.plan.tolerance:
            return _Step(worst, gradients)
        return _Step(worst, gradients, self._judged(run, observed, compared))

    def _copied(self) -> dict[str, str]:
        return {new: self.key_map.new_name(old) or old for new, old in self.key_map.copied.items()}

    def _judged(self, run: _Run, observed: Observed, compared: Sequence[Compared]) -> Proof | None:
        """Whether differences beyond the tolerance can be put down to rounding; the verdict if not."""
        again = list(differences(observed, run(self.original)))
        mode = MODES[run.way.mode]
        if any(each.error > self.plan.tolerance for each in again):
            return unprovable(f"two runs of the original on the same inputs differ {mode}")
        own = expected(observed, self.key_map)
        reactions = differences(own, expected(run(self.original, disturbed=True), self.key_map))
        allowed = {(each.kind, each.name): each.error for each in reactions}
        wrong = [each for each in compared if each.error > self._limit(allowed.get((each.kind, each.name), 0.0))]
        if not wrong:
            return None
        # Outputs come first, and say most to a reader.
        return Proof(equal=False, worst=max(each.error for each in wrong), reason=f"{wrong[0]} {mode}")

    def _limit(self, reaction: float) -> float:
        return max(self.plan.tolerance, min(_MULTIPLE * reaction, LIMIT))


def _is_overwritten(error: RuntimeError) -> bool:
    """Whether backward misses a value that an operation in place has overwritten; torch has no class of its own for that."""
    return "modified by an inplace operation" in str(error)


def compared(pair: Pair, modes: tuple[str, ...], inputs: Arguments, shape: Shape) -> Proof:
    """Run two models in every mode on every draw; the first difference ends it.

    Args:
        pair: the models, with the weights of the first draw.
        modes: keys of :data:`~normadvisor.rewrite.proof.passes.MODES`.
        inputs: what inputs are like.
        shape: and of which shape.

    """
    worst, gradients, made = 0.0, _Gradients.EQUAL, 0
    for step, made in _steps(pair, modes, inputs, shape):
        if step.verdict is not None:
            return replace(step.verdict, modes=modes, draws=made)
        worst, gradients = max(worst, step.worst), max(gradients, step.gradients)
    return Proof(equal=True, modes=modes, draws=made, worst=worst, what=_WHAT[gradients])


def _steps(pair: Pair, modes: tuple[str, ...], inputs: Arguments, shape: Shape) -> Iterator[tuple[_Step, int]]:
    """Every mode on every draw, until time is up."""
    plan, started = pair.plan, time.monotonic()
    for index in range(plan.draws):
        if index:
            randomise(pair.original.model, plan.seed + index)
            carry(pair.original.model, pair.changed.model, pair.key_map)
        pair.original.keep()
        pair.changed.keep()
        args, kwargs = draw(inputs, shape, plan.seed + index)
        for mode in modes:
            yield pair.compare(mode, args, kwargs, plan.seed + index), index + 1
        if time.monotonic() - started > plan.seconds:
            return
