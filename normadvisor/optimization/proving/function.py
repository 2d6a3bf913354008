"""Whether a changed model is the same function, in exact arithmetic as far as float64 goes."""

from __future__ import annotations

import copy
from collections.abc import Callable
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
from normadvisor.rewrite.proof.passes import MODES, Subject
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
                proof = self._compared(base, change, index)
                if not proof.equal:
                    return proof
                worst = max(worst, proof.worst)
            for other in self._other_calls(base):
                proof = self._compared(base, change, 0, other)
                if not proof.equal and proof.provable:
                    return replace(proof, reason=f"{proof.reason}, {other.told}")
        except CannotChange:
            raise
        except Exception as error:  # noqa: BLE001 -- copying and running code that is not ours may raise anything
            return unprovable(told(error))
        what = "outputs" if self.mode == "inference" else "outputs, gradients and buffers"
        return Proof(equal=True, modes=(self.way,), draws=_DRAWS, worst=worst, what=what)

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

    def _compared(self, base: nn.Module, change: Change, index: int, other: Other | None = None) -> Proof:
        seed, last = self.seed + index, index == _DRAWS - 1
        original = copy.deepcopy(base)
        randomise(original, seed)
        args, kwargs = draw(self.inputs, self._shape or Shape(), seed)
        if other is not None:
            args, kwargs = other.of(args, kwargs, seed)
        if last:
            hostile(original, seed)
            if not Subject(original).try_out(self.way, args, kwargs):  # a deep model may amplify them beyond what float64 holds
                randomise(original := copy.deepcopy(base), seed)
        changed = copy.deepcopy(original)
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
        pair = Pair(Subject(original), Subject(changed), key_map, plan, backward=self.mode == "training")
        return self._judged(pair, args, kwargs, seed)

    def _judged(self, pair: Pair, args: tuple[Any, ...], kwargs: dict[str, Any], seed: int) -> Proof:
        step = pair.compare(self.way, args, kwargs, seed)
        return step.verdict or Proof(equal=True, modes=(self.way,), draws=1, worst=step.worst)

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
