"""Compares a live model with what it was before it was changed in place."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from normadvisor.graph.values import tensors_in
from normadvisor.rewrite.proof.proving import prove
from normadvisor.rewrite.proof.result import Proof, unprovable
from normadvisor.rewrite.proof.state import named_modules
from normadvisor.rewrite.proof.words import told

if TYPE_CHECKING:
    from normadvisor.rewrite.keys import KeyMap
    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Before"]


@dataclass(frozen=True, slots=True)
class Before:
    """A model before a change: its structure and its buffers, copied. Parameters are the same objects, so it takes no memory."""

    model: nn.Module | None
    problem: str = ""
    """Why there is no copy."""

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Take the copy."""
        memo: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
        for _, module in named_modules(model):
            # What was computed from parameters (a normalised weight) cannot be copied, and is computed anew before it is used.
            memo.update({id(tensor): tensor for value in vars(module).values() for tensor in tensors_in(value) if not tensor.is_leaf})
        try:
            return cls(copy.deepcopy(model, memo))
        except Exception as error:  # noqa: BLE001 -- whatever a part of the model that cannot be copied raises
            return cls(None, f"the model cannot be copied: {told(error)}")

    def prove(self, changed: nn.Module, inputs: Arguments, key_map: KeyMap, *, parts: Sequence[Sequence[str]] = ()) -> Proof:
        """As :func:`normadvisor.rewrite.proof.prove`, and the values that the live model holds must be what the key map makes of the old.

        Args:
            changed: the model as it is now.
            inputs: see there.
            key_map: see there.
            parts: see there.

        """
        if self.model is None:
            return unprovable(self.problem)
        if problem := _wrong_value(self.model, changed, key_map):
            return Proof(equal=False, reason=problem)
        return prove(self.model, changed, inputs, key_map, parts=parts)


def _wrong_value(before: nn.Module, after: nn.Module, key_map: KeyMap) -> str:
    """A value of the live state that is not what the key map makes of the state before, in words."""
    if any(is_lazy(value) for model in (before, after) for value in (*model.parameters(), *model.buffers())):
        return ""
    expected = key_map.apply(before.state_dict())
    for key, value in after.state_dict().items():
        wanted = expected.get(key)
        if not isinstance(value, torch.Tensor) or not isinstance(wanted, torch.Tensor) or value.is_meta or value.shape != wanted.shape:
            continue  # shapes are compared with the rest
        if not torch.equal(value, wanted) and not torch.allclose(value, wanted, equal_nan=True):
            return f"{key} holds other values than the key map says"
    return ""
