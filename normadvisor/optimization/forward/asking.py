"""What forwards ask of values that are being followed: the answers of the recorded run, each of which becomes a guard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import fx, nn

from normadvisor.optimization.forward.guards import Guards, written
from normadvisor.optimization.forward.rendering import computed_in, places_of_kind, rendered

if TYPE_CHECKING:
    from normadvisor.optimization.forward.traced import Traced

__all__ = ["Asking"]

_NOT_OF_SHAPE = frozenset({"requires_grad", "grad_fn", "grad", "is_leaf", "stride", "is_contiguous", "storage_offset", "_base", "_version"})
"""What the shapes of the arguments do not decide."""
_OF_KIND = frozenset({"dtype", "device", "is_cuda", "is_floating_point", "is_complex", "element_size", "itemsize"})
"""What the shapes of the arguments do not decide, but their dtypes and devices, and those of parameters."""


class Asking(ABC):
    """The part of a tracer that answers."""

    module: nn.Module
    guards: Guards
    quiet: bool
    device: torch.device
    inputs: dict[fx.Node, str]
    ranks: bool
    """Whether the number of axes of an intermediate result was asked for."""

    @abstractmethod
    def refuse(self, why: str) -> NoReturn:
        """Give up."""

    def taken(self, traced: Traced, read: Callable[[Any], Any]) -> Any:
        """The number or truth of a value, which becomes a guard."""
        value = traced._value  # noqa: SLF001
        if isinstance(value, torch.Tensor):
            self.refuse("decides by the values of a tensor")
        answer = read(value)
        self.demand(traced._node, answer, "float" if read is float else "")  # noqa: SLF001
        return answer

    def length(self, traced: Traced) -> int:
        """How many items a value has, which becomes a guard."""
        value = traced._value  # noqa: SLF001
        if isinstance(value, torch.Tensor):
            return int(traced.shape[0])
        answer = len(value)
        self.demand(traced._node, answer, "len")  # noqa: SLF001
        return answer

    def demand(self, node: fx.Node, answer: Any, function: str) -> None:
        """Demand that a value is what it was when a function of Python (none if empty) has been applied to it."""
        text = rendered(node, self.inputs)
        if text is not None:
            self._answered(text, answer, function)
            return
        if function == "len":
            # How many axes there are hangs on how many the arguments have; how many results a child has is its own business.
            self.ranks = self.ranks or isinstance(node.meta["value"], torch.Size)
            return
        if _reads(node, _NOT_OF_SHAPE):
            self.refuse("decides by what the shapes of its arguments do not tell")
        if _reads(node, _OF_KIND):
            self._of_sources(node, answer, function)
            return
        self.guards.exact = True

    def _answered(self, text: str, answer: Any, function: str) -> None:
        if isinstance(answer, bool):
            self.guards.add(f"({text})" if answer else f"not ({text})")
        else:
            self.guards.add((f"{function}({text})" if function else text) + f" == {written(answer)}")

    def _of_sources(self, node: fx.Node, answer: Any, function: str) -> None:
        """Demand the same answer for the arguments and parameters that a value, whose dtype or device is asked for, is computed from."""
        asked = computed_in(node)
        self.quiet = True
        try:
            places = places_of_kind(asked[0], self.module, self.inputs) if len(asked) == 1 else []
        finally:
            self.quiet = False
        texts = [rendered(node, {**self.inputs, asked[0]: place}) for place in places]
        if not texts or None in texts:
            self.refuse("decides by the dtype or device of what it computes")
        for text in texts:
            self._answered(str(text), answer, function)
        self.guards.add(f"not torch.is_autocast_enabled({self.device.type!r})")


def _reads(node: fx.Node, names: frozenset[str]) -> bool:
    """Whether a value comes from one of these attributes, or from calling one of these methods."""
    waiting, seen = [node], {node}
    while waiting:
        found = waiting.pop()
        if (found.target is getattr and found.args[1] in names) or (found.op == "call_method" and found.target in names):
            return True
        fresh = [source for source in found.all_input_nodes if source not in seen]
        seen.update(fresh)
        waiting += fresh
    return False
