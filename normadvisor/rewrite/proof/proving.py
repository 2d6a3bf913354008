"""The entry: two models and inputs in, one :class:`~normadvisor.rewrite.proof.result.Proof` out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof.copies import double_copy, has_lazy
from normadvisor.rewrite.proof.inputs import SIDE, SLICE_SIDE, Arguments, Shape, draw, shapes
from normadvisor.rewrite.proof.memory import counted_activations, free_memory, weight_bytes
from normadvisor.rewrite.proof.outside import same_outside
from normadvisor.rewrite.proof.pair import LIMIT, TOLERANCE, Pair, Plan, compared
from normadvisor.rewrite.proof.parts import recorded_arguments, restricted
from normadvisor.rewrite.proof.passes import MODES, Subject, as_plain_cpu
from normadvisor.rewrite.proof.regions import Region, changed_regions, regions
from normadvisor.rewrite.proof.result import Proof, unprovable
from normadvisor.rewrite.proof.state import carry, randomise
from normadvisor.rewrite.proof.words import told

__all__ = ["LIMIT", "TOLERANCE", "prove"]

_LARGE = 1 << 25
"""Parameters from which on the modules that hold the changes are run rather than the whole model, which would take minutes."""
_SMALL = 1 << 20
"""Parameters up to which a model runs on one thread."""
_CONTEXTS = (0, 2, None)
"""Elements of a sequence that are run on either side of a change, from least to most; ``None`` for the sequence as a whole."""
_NAMED = 3
"""Parts that a proof names."""


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
    plan = Plan(draws, seed, tolerance, seconds, free_memory() if memory is None else memory)
    key_map = key_map or KeyMap()
    is_large = _parameters(original) > _LARGE
    by_parts = _by_parts(original, changed, inputs, key_map, parts, plan) if is_large else None
    if by_parts is not None and by_parts.equal:
        return by_parts
    whole = _guarded(original, changed, inputs, key_map, plan)
    if whole.provable:
        return whole
    return by_parts or (None if is_large else _by_parts(original, changed, inputs, key_map, parts, plan)) or whole


def _parameters(model: nn.Module) -> int:
    held: list[torch.Tensor] = list(model.parameters())
    return sum(0 if is_lazy(parameter) else parameter.numel() for parameter in held)


def _too_large(needed: int, plan: Plan) -> Proof:
    free = f"{plan.memory / 2**30:.1f} GiB"
    return unprovable(f"comparing it in float64 takes {needed / 2**30:.1f} GiB, and {free} may be used; --memory allows for more")


def _guarded(original: nn.Module, changed: nn.Module, inputs: Arguments, key_map: KeyMap, plan: Plan) -> Proof:
    """As :func:`_whole`, and whatever goes wrong outside of the models' own code is a reason, too."""
    if (needed := weight_bytes(original, changed)) > plan.memory:
        return _too_large(needed, plan)
    try:
        with _threads(original):
            return _whole(original, changed, inputs, key_map, plan)
    except Exception as error:  # noqa: BLE001 -- copying and running code that is not ours may raise anything
        return unprovable(told(error))


@contextmanager
def _threads(model: nn.Module) -> Iterator[None]:
    """One thread for a small model, whose operations take less time than sharing them out does."""
    before = torch.get_num_threads()
    if before == 1 or _parameters(model) > _SMALL:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _by_parts(
    original: nn.Module, changed: nn.Module, inputs: Arguments, key_map: KeyMap, parts: Sequence[Sequence[str]], plan: Plan
) -> Proof | None:
    """The proof for the smallest parts around every change; ``None`` where that is no help."""
    attempts = [regions(original, key_map, parts, context) for context in _CONTEXTS]
    for number, found in enumerate(attempts):
        if found in attempts[number + 1 :]:
            continue
        proof = _of_regions(original, changed, inputs, key_map, found, plan)
        # What differs on arbitrary inputs may still be equal on those that the layers around it give.
        if proof is not None and (proof.equal or number == len(attempts) - 1):
            return proof
    return None


def _of_regions(
    original: nn.Module, changed: nn.Module, inputs: Arguments, key_map: KeyMap, found: Sequence[Region], plan: Plan
) -> Proof | None:
    pairs = changed_regions(original, changed, found)
    if not pairs or not same_outside(original, changed, pairs, key_map):
        return None
    try:
        arguments = recorded_arguments(original, [region for region, _ in pairs], inputs)
    except Exception:  # noqa: BLE001 -- forward may raise anything, and the reason for not proving the whole is told already
        return None
    proofs = []
    for part in restricted(original, changed, key_map, pairs):
        if part.region not in arguments:
            return None
        side = SIDE if part.region.stop is None else SLICE_SIDE
        proof = _guarded(part.original, part.changed, arguments[part.region], part.key_map, replace(plan, side=side))
        if not proof.equal:
            return replace(proof, reason=f"in {part.region}: {proof.reason}")
        proofs.append(proof)
    if len(proofs) != len(pairs):
        return None
    modes = tuple(mode for mode in proofs[0].modes if all(mode in proof.modes for proof in proofs))
    named = [str(region) for region, _ in pairs]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    what = f"{proofs[0].what.removesuffix(',')} of {', '.join(named[:_NAMED])}{more}, which hold all that was changed,"
    draws, worst = min(proof.draws for proof in proofs), max(proof.worst for proof in proofs)
    return replace(proofs[0], modes=modes, what=what, draws=draws, worst=worst)


def _whole(original: nn.Module, changed: nn.Module, inputs: Arguments, key_map: KeyMap, plan: Plan) -> Proof:
    first, second = _copied(original, inputs), _copied(changed, inputs)
    randomise(first, plan.seed)
    if problem := carry(first, second, key_map):
        return Proof(equal=False, reason=problem)
    one, other = Subject(first), Subject(second)
    modes = ("train", "eval", "as it is") if one.is_mixed else ("train", "eval")
    shape = _shape(one, modes, inputs, replace(plan, memory=plan.memory - weight_bytes(original, changed)))
    if isinstance(shape, str):
        return unprovable(shape)
    return compared(Pair(one, other, key_map, plan), modes, inputs, shape)


def _copied(model: nn.Module, inputs: Arguments) -> nn.Module:
    copied = double_copy(model)
    if has_lazy(copied):
        args, kwargs = draw(inputs, Shape(), 0)
        with as_plain_cpu(), torch.no_grad():
            copied(*args, **kwargs)
        copied = double_copy(copied)
    return copied


def _shape(subject: Subject, modes: Sequence[str], inputs: Arguments, plan: Plan) -> Shape | str:
    """The first shape that the model runs on in all modes; why there is none, in words.

    Args:
        subject: the original.
        modes: how it has to run.
        inputs: the given ones.
        plan: with the memory for what a pass keeps.

    """
    reason = ""
    for shape in shapes(inputs, plan.side):
        args, kwargs = draw(inputs, shape, 0)
        for mode in modes:
            try:
                with counted_activations(subject.model) as kept:
                    finite = subject.try_out(mode, args, kwargs)
            except Exception as error:  # noqa: BLE001 -- forward is the user's code
                reason = f"forward of the original fails {MODES[mode]}: {told(error)}"
                break
            if not finite:
                reason = f"it gives values that are not finite {MODES[mode]}"
                break
            if kept.bytes > plan.memory:
                reason = (
                    f"a pass keeps {kept.bytes / 2**30:.1f} GiB, and {plan.memory / 2**30:.1f} GiB may be used; --memory allows for more"
                )
                break
        else:
            return shape
    return reason
