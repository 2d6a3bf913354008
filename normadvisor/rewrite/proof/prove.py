"""The entry: two models and inputs in, one :class:`~normadvisor.rewrite.proof.result.Proof` out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof.compare import Compared, differences, expected, gradients_lost
from normadvisor.rewrite.proof.copies import double_copy, has_lazy
from normadvisor.rewrite.proof.inputs import Arguments, Shape, draw, shapes
from normadvisor.rewrite.proof.memory import counted_activations, free_memory, weight_bytes
from normadvisor.rewrite.proof.outside import same_outside
from normadvisor.rewrite.proof.parts import enclosing, recorded_arguments, restricted
from normadvisor.rewrite.proof.passes import MODES, Observed, Subject, as_plain_cpu
from normadvisor.rewrite.proof.result import Proof
from normadvisor.rewrite.proof.state import carry, randomise

__all__ = ["LIMIT", "TOLERANCE", "prove"]

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

_LARGE = 1 << 25
"""Parameters from which on the modules that hold the changes are run rather than the whole model, which would take minutes."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How thorough a proof has to be, and what it may take."""

    draws: int
    seed: int
    tolerance: float
    seconds: float
    memory: int


def prove(  # noqa: PLR0913 - one argument for each thing a caller may want otherwise
    original: nn.Module,
    changed: nn.Module,
    inputs: Arguments,
    key_map: KeyMap | None = None,
    *,
    parts: Sequence[Sequence[str]] = (),
    draws: int = 3,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    seconds: float = 60.0,
    memory: int | None = None,
) -> Proof:
    """Compare what two models compute, in float64 on the CPU, with random weights and inputs, in train and in eval mode.

    Both get the same random weights, biases, scales and running statistics (through ``key_map``), the same random state and the same
    inputs. Compared are all outputs, the gradients of a random linear function of them with respect to inputs and parameters, and the
    buffers after the pass. A parameter that the changed model does not have must have had no gradient in training.

    A difference is relative to the largest entry of its tensor. Up to ``tolerance`` it counts as rounding. Beyond that, up to
    :data:`LIMIT`, it does so only where the original reacts at least a tenth as much to its own inputs being disturbed by 1e-12.

    Args:
        original: any model; never changed, on any device, the meta device included.
        changed: what became of it; never changed either.
        inputs: arguments of ``forward``; their shapes count, and the range of integers. Batches of one are made larger and maps smaller
            where the original takes that.
        key_map: from the original's keys to those of ``changed``; ``None`` where they are the same.
        parts: groups of module names of the original, one for each change. A model that is large, or does not run in both modes, is
            proven by the smallest modules that hold a group, on inputs of the shapes they get in the model; around them both models
            must be the same code.
        draws: sets of weights and inputs.
        seed: of everything random.
        tolerance: see above.
        seconds: no further draw is begun after that long; one is always made.
        memory: bytes; see :func:`~normadvisor.rewrite.proof.memory.free_memory` for how much it is when ``None``.

    """
    plan = _Plan(draws, seed, tolerance, seconds, free_memory() if memory is None else memory)
    key_map = key_map or KeyMap()
    if _parameters(original) > _LARGE:
        by_parts = _by_parts(original, changed, inputs, key_map, parts, plan)
        if by_parts is not None and by_parts.equal:
            return by_parts
    whole = _guarded(original, changed, inputs, key_map, plan)
    if whole.provable:
        return whole
    return _by_parts(original, changed, inputs, key_map, parts, plan) or whole


def _parameters(model: nn.Module) -> int:
    held: list[torch.Tensor] = list(model.parameters())
    return sum(0 if is_lazy(parameter) else parameter.numel() for parameter in held)


def _unprovable(reason: str) -> Proof:
    return Proof(equal=False, provable=False, reason=f"equality cannot be proven: {reason}")


def _too_large(needed: int, plan: _Plan) -> Proof:
    free = f"{plan.memory / 2**30:.1f} GiB"
    return _unprovable(f"comparing it in float64 takes {needed / 2**30:.1f} GiB, and {free} may be used; --memory allows for more")


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _guarded(original: nn.Module, changed: nn.Module, inputs: Arguments, key_map: KeyMap, plan: _Plan) -> Proof:
    """As :func:`_whole`, and whatever goes wrong outside of the models' own code is a reason, too."""
    if (needed := weight_bytes(original, changed)) > plan.memory:
        return _too_large(needed, plan)
    try:
        return _whole(original, changed, inputs, key_map, plan)
    except Exception as error:  # noqa: BLE001 -- copying and running code that is not ours may raise anything
        return _unprovable(_told(error))


def _by_parts(
    original: nn.Module, changed: nn.Module, inputs: Arguments, key_map: KeyMap, parts: Sequence[Sequence[str]], plan: _Plan
) -> Proof | None:
    """The proof for the smallest modules around every change; ``None`` where that is no help."""
    names = enclosing(original, key_map, parts)
    if not names or not same_outside(original, changed, names):
        return None
    try:
        arguments = recorded_arguments(original, names, inputs)
    except Exception:  # noqa: BLE001 -- forward may raise anything, and the reason for not proving the whole is told already
        return None
    proofs = []
    for name, new, part_map in restricted(original, changed, key_map, names):
        part, changed_part = original.get_submodule(name), changed.get_submodule(new)
        if name not in arguments:
            return None
        proof = _guarded(part, changed_part, arguments[name], part_map, plan)
        if not proof.equal:
            return replace(proof, reason=f"in {name}: {proof.reason}")
        proofs.append(proof)
    if len(proofs) != len(names):
        return None
    modes = tuple(mode for mode in proofs[0].modes if all(mode in proof.modes for proof in proofs))
    what = f"{proofs[0].what} of {', '.join(names)}, which hold all that was changed,"
    return replace(
        proofs[0], modes=modes, what=what, draws=min(proof.draws for proof in proofs), worst=max(proof.worst for proof in proofs)
    )


def _whole(original: nn.Module, changed: nn.Module, inputs: Arguments, key_map: KeyMap, plan: _Plan) -> Proof:
    first, second = _copied(original, inputs), _copied(changed, inputs)
    randomise(first, plan.seed)
    if problem := carry(first, second, key_map):
        return Proof(equal=False, reason=problem)
    one, other = Subject(first), Subject(second)
    modes = ("train", "eval", "as it is") if one.is_mixed else ("train", "eval")
    shape = _shape(one, modes, inputs, plan.memory - weight_bytes(original, changed))
    if isinstance(shape, str):
        return _unprovable(shape)
    return _draws(_Pair(one, other, key_map, plan), modes, inputs, shape)


def _copied(model: nn.Module, inputs: Arguments) -> nn.Module:
    copied = double_copy(model)
    if has_lazy(copied):
        args, kwargs = draw(inputs, Shape(), 0)
        with as_plain_cpu(), torch.no_grad():
            copied(*args, **kwargs)
        copied = double_copy(copied)
    return copied


def _shape(subject: Subject, modes: Sequence[str], inputs: Arguments, memory: int) -> Shape | str:
    """The first shape that the model runs on in all modes; why there is none, in words.

    Args:
        subject: the original.
        modes: how it has to run.
        inputs: the given ones.
        memory: bytes for what a pass keeps.

    """
    reason = ""
    for shape in shapes(inputs):
        args, kwargs = draw(inputs, shape, 0)
        for mode in modes:
            try:
                with counted_activations(subject.model) as kept:
                    finite = subject.try_out(mode, args, kwargs)
            except Exception as error:  # noqa: BLE001 -- forward is the user's code
                reason = f"forward of the original fails {MODES[mode]}: {_told(error)}"
                break
            if not finite:
                reason = f"it gives values that are not finite {MODES[mode]}"
                break
            if kept.bytes > memory:
                reason = f"a pass keeps {kept.bytes / 2**30:.1f} GiB, and {memory / 2**30:.1f} GiB may be used; --memory allows for more"
                break
        else:
            return shape
    return reason


@dataclass(slots=True)
class _Pair:
    """Two models that should compute the same."""

    original: Subject
    changed: Subject
    key_map: KeyMap
    plan: _Plan

    def compare(self, mode: str, args: tuple[Any, ...], kwargs: dict[str, Any], seed: int) -> tuple[float, bool, Proof | None]:
        """One pass of each: the worst difference, whether there were gradients, and a verdict if it is that they differ."""
        observed = self.original.observe(mode, args, kwargs, seed)
        try:
            found = self.changed.observe(mode, args, kwargs, seed)
        except Exception as error:  # noqa: BLE001 -- forward is the user's code
            return 0.0, True, Proof(equal=False, reason=f"the changed model fails {MODES[mode]}: {_told(error)}")
        compared = list(differences(expected(observed, self.key_map), found, copied=self._copied()))
        if mode != "eval":
            compared += gradients_lost(observed, self.key_map)
        del found  # its gradients take as much memory as the model
        worst = max((each.error for each in compared), default=0.0)
        if worst <= self.plan.tolerance:
            return worst, observed.differentiable, None
        return worst, observed.differentiable, self._judged(mode, (args, kwargs), seed, observed, compared)

    def _copied(self) -> dict[str, str]:
        return {new: self.key_map.new_name(old) or old for new, old in self.key_map.copied.items()}

    def _judged(
        self, mode: str, arguments: tuple[tuple[Any, ...], dict[str, Any]], seed: int, observed: Observed, compared: Sequence[Compared]
    ) -> Proof | None:
        """Whether differences beyond the tolerance can be put down to rounding; the verdict if not."""
        again = list(differences(observed, self.original.observe(mode, *arguments, seed)))
        if any(each.error > self.plan.tolerance for each in again):
            return _unprovable(f"two runs of the original on the same inputs differ {MODES[mode]}")
        own = expected(observed, self.key_map)
        reactions = differences(own, expected(self.original.observe(mode, *arguments, seed, disturbed=True), self.key_map))
        allowed = {(each.kind, each.name): each.error for each in reactions}
        wrong = [each for each in compared if each.error > self._limit(allowed.get((each.kind, each.name), 0.0))]
        if not wrong:
            return None
        # Outputs come first, and say most to a reader.
        return Proof(equal=False, worst=max(each.error for each in wrong), reason=f"{wrong[0]} {MODES[mode]}")

    def _limit(self, reaction: float) -> float:
        return max(self.plan.tolerance, min(_MULTIPLE * reaction, LIMIT))


def _draws(pair: _Pair, modes: tuple[str, ...], inputs: Arguments, shape: Shape) -> Proof:
    worst, differentiable, made = 0.0, True, 0
    for error, has_gradients, verdict, made in _passes(pair, modes, inputs, shape):
        if verdict is not None:
            return replace(verdict, modes=modes, draws=made)
        worst, differentiable = max(worst, error), differentiable and has_gradients
    what = "outputs, gradients and buffers" if differentiable else "outputs and buffers"
    return Proof(equal=True, modes=modes, draws=made, worst=worst, what=what)


def _passes(
    pair: _Pair, modes: tuple[str, ...], inputs: Arguments, shape: Shape
) -> Iterator[tuple[float, bool, Proof | None, int]]:
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
            yield *pair.compare(mode, args, kwargs, plan.seed + index), index + 1
        if time.monotonic() - started > plan.seconds:
            return
