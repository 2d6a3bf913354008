"""Whether a changed model is the same function, in exact arithmetic as far as float64 goes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from normadvisor.optimization.proving.adversarial import hostile
from normadvisor.optimization.proving.others import Other, flags, left_out, sizes
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.proof.copies import double_copy
from normadvisor.rewrite.proof.inputs import Shape, draw, shapes
from normadvisor.rewrite.proof.memory import free_memory, weight_bytes
from normadvisor.rewrite.proof.pair import TOLERANCE, Pair, Plan
from normadvisor.rewrite.proof.passes import MODES, Observed, Subject, Way
from normadvisor.rewrite.proof.result import Proof, unprovable
from normadvisor.rewrite.proof.state import parameters, randomise
from normadvisor.rewrite.proof.words import told

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Change", "FunctionProof"]

Change = Callable[["nn.Module"], None]
"""Makes the changes in question to a model. Raises :class:`~normadvisor.rewrite.model.refusal.CannotChange` where it cannot."""

_DRAWS = 3
"""Sets of weights and inputs; the last has hostile statistics."""
_BYTES = 8
"""Of one number in float64."""
_SETS = 8
"""How much is kept of one model after another's proof, in times of its weights: three sets of them, and in training five of gradients."""
_SHARE = 0.25
"""Of the memory that may be taken: what may be kept."""


@dataclass(slots=True)
class _Call:
    """One way to call the model."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    told: str = ""
    """How it differs from the call at hand, where it does."""
    known: Observed | None = None
    """What the original gives, where that is kept."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The original with one set of random weights."""

    original: Subject
    seed: int
    calls: tuple[_Call, ...]
    """The call at hand first."""


@dataclass(slots=True, kw_only=True)
class FunctionProof:
    """Compares a model with what becomes of its copies, in double precision on the CPU.

    Both have the same random weights, scales and running statistics, since changes are made to a copy of a model that has them already.
    In inference outputs are compared in eval mode; in training outputs, the gradients of inputs and of every parameter, and buffers in
    train mode. One draw more is made for larger and for smaller maps, and for each flag of ``forward`` the other way round, where the
    original takes that. Every parameter of the original must still be there in training: an optimizer holds it.

    Args:
        model: the original, on any device; never changed.
        inputs: arguments of ``forward``; their shapes count.
        mode: ``inference`` or ``training``.
        seed: of everything random.
        memory: bytes; as much as is free when ``None``.

    """

    model: nn.Module
    inputs: Arguments
    mode: str
    seed: int = 0
    memory: int | None = None
    _double: nn.Module | None = field(default=None, init=False)
    _shape: Shape | None = field(default=None, init=False)
    _reason: str = field(default="", init=False)
    _others: list[Other] | None = field(default=None, init=False)
    _keeps: bool = field(default=False, init=False)
    """Whether there is memory to keep what is made for all draws."""
    _kept: dict[int, _Drawn] = field(default_factory=dict, init=False)

    @property
    def way(self) -> str:
        """The mode of the passes, as proofs call it; layers that were set apart by hand stay in theirs."""
        if self.mode == "inference":
            return "eval"
        return "train" if all(module.training for module in self.model.modules()) else "as it is"

    def of(self, change: Change) -> Proof:
        """Whether a model stays the same function when it is changed.

        Raises:
            CannotChange: from ``change``.

        """
        base = self._base()
        if base is None:
            return unprovable(self._reason)
        worst = 0.0
        try:
            for index in range(_DRAWS):
                proof = self._on(self._drawn(base, index), change)
                if not proof.equal:
                    return proof
                worst = max(worst, proof.worst)
        except CannotChange:
            raise
        except Exception as error:  # noqa: BLE001 -- copying and running code that is not ours may raise anything
            return unprovable(told(error))
        what = "outputs" if self.mode == "inference" else "outputs, gradients and buffers"
        return Proof(equal=True, modes=(self.way,), draws=_DRAWS, worst=worst, what=what)

    def prepare(self) -> None:
        """Run the original in all ways in which it is compared, where there is memory to keep what it gives: once for all changes."""
        base = self._base()
        if base is not None and self._keeps:
            with suppress(Exception):  # raised again, and told, where something is compared
                for index in range(_DRAWS):
                    self._drawn(base, index)

    def _on(self, drawn: _Drawn, change: Change) -> Proof:
        """Compare one changed copy with the original in all calls of one draw."""
        changed = copy.deepcopy(drawn.original.model)
        held = _names(changed)
        with torch.no_grad():
            change(changed)
        key_map = KeyMap()
        if self.mode == "training":
            found = self._renamed(changed, held)
            if isinstance(found, str):
                return Proof(equal=False, reason=found)
            key_map = found
        plan = Plan(_DRAWS, self.seed, TOLERANCE, 0.0, 0)
        pair = Pair(drawn.original, Subject(changed), key_map, plan, backward=self.mode == "training")
        worst = 0.0
        for call in drawn.calls:
            pair.known = call.known
            step = pair.compare(self.way, call.args, call.kwargs, drawn.seed)
            if not call.told:
                if step.verdict is not None:
                    return step.verdict
                worst = step.worst
            elif step.verdict is not None and step.verdict.provable:
                return replace(step.verdict, reason=f"{step.verdict.reason}, {call.told}")
        return Proof(equal=True, modes=(self.way,), draws=1, worst=worst)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Arguments of ``forward`` that were not given, and with which nothing was compared."""
        return tuple(left_out(self.model, self.inputs, {name for other in self._others or () for name in other.flags}))

    def _other_calls(self, base: nn.Module) -> list[Other]:
        """Other map sizes and flags that the original takes."""
        if self._others is None:
            args, kwargs = draw(self.inputs, self._shape or Shape(), self.seed)
            ways = [*sizes(args, kwargs), *((flag,) for flag in flags(self.model, self.inputs))]
            subject = Subject(copy.deepcopy(base))

            def runs(other: Other) -> bool:
                try:
                    return subject.try_out(self.way, *other.of(args, kwargs, self.seed))
                except Exception:  # noqa: BLE001 -- forward is the user's code, and need not take it
                    return False

            self._others = [other for way in ways if (other := next(filter(runs, way), None)) is not None]
        return self._others

    def _base(self) -> nn.Module | None:
        """The original in double precision; ``None`` where it does not fit, or cannot be run."""
        if self._double is None and not self._reason:
            free = free_memory() if self.memory is None else self.memory
            needed = weight_bytes(self.model, self.model)
            if needed > free:
                self._reason = f"comparing it in float64 takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB may be used"
                return None
            weights = sum(tensor.numel() for tensor in (*self.model.parameters(), *self.model.buffers())) * _BYTES
            self._keeps = _SETS * weights < _SHARE * free
            try:
                self._double = double_copy(self.model)
            except Exception as error:  # noqa: BLE001 -- as above
                self._reason = told(error)
                return None
            self._shape = self._fitting(self._double)
        return self._double if self._shape is not None else None

    def _fitting(self, double: nn.Module) -> Shape | None:
        """The first shape of inputs that the model runs on, small ones first."""
        subject = Subject(copy.deepcopy(double))
        for shape in shapes(self.inputs):
            try:
                if subject.try_out(self.way, *draw(self.inputs, shape, self.seed)):
                    return shape
                self._reason = "it gives values that are not finite"
            except Exception as error:  # noqa: BLE001 -- forward is the user's code
                self._reason = f"forward of the original fails {MODES[self.way]}: {told(error)}"
        return None

    def _drawn(self, base: nn.Module, index: int) -> _Drawn:
        """The original with the weights of one draw, and what it is called with; made once where there is memory to keep it."""
        if index in self._kept:
            return self._kept[index]
        seed = self.seed + index
        model = copy.deepcopy(base)
        randomise(model, seed)
        args, kwargs = draw(self.inputs, self._shape or Shape(), seed)
        original = Subject(model)
        if index == _DRAWS - 1:
            hostile(model, seed)
            original.keep()
            if not original.try_out(self.way, args, kwargs):  # a deep model may amplify them beyond what float64 holds
                randomise(model := copy.deepcopy(base), seed)
                original = Subject(model)
        others = self._other_calls(base) if index == 0 else ()
        drawn = _Drawn(original, seed, (_Call(args, kwargs), *(_Call(*other.of(args, kwargs, seed), other.told) for other in others)))
        if self._keeps:
            way = Way(self.way, seed, backward=self.mode == "training")
            for call in drawn.calls:
                with suppress(Exception):  # raised again, and told, where the pass is compared
                    call.known = original.observe(way, call.args, call.kwargs)
            self._kept[index] = drawn
        return drawn

    @staticmethod
    def _renamed(changed: nn.Module, held: dict[int, str]) -> KeyMap | str:
        """New keys of the parameters, which have to be the same objects; what is wrong where one is not there."""
        new = _names(changed)
        old = {key: new.get(address) for address, key in held.items()}
        if lost := [key for key, name in old.items() if name is None]:
            return f"the parameter {lost[0]} is no longer there, and an optimizer may hold it"
        renamed = {key: name for key, name in old.items() if name is not None and name != key}
        added = tuple(key for address, key in new.items() if address not in held)
        return KeyMap(renamed=renamed, added=added)


def _names(model: nn.Module) -> dict[int, str]:
    """The first key of every parameter, by its address."""
    found: dict[int, str] = {}
    for key, value in parameters(model).items():
        found.setdefault(id(value), key)
    return found
