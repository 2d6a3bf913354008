"""Where the first value that is infinite or not a number comes from: the layer, the function, and the line that calls it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from normadvisor.probe.recording.layers import walk
from normadvisor.probe.running.lines import calling_line
from normadvisor.probe.running.samples import Batch
from normadvisor.probe.running.session import Session
from normadvisor.probe.running.trees import named_tensors

__all__ = ["Cause", "all_finite", "find_in_forward", "find_in_gradient"]

_MASKING = frozenset({"masked_fill", "where", "full", "full_like", "new_full", "fill", "tensor", "setitem", "triu", "tril"})
"""Functions that put minus infinity where something is masked."""
_WORDS = {"truediv": "div", "rtruediv": "div", "rdiv": "div", "true_divide": "div", "rpow": "pow", "rsub": "sub", "get": "slice"}


@dataclass(frozen=True, slots=True)
class Cause:
    """The function whose result, or gradient, is not finite although what it was given is."""

    op: str
    """Its name in torch, such as ``sqrt``."""
    line: str | None
    """``path:line`` of its call in the model's code; ``None`` inside of torch's own layers and outside of the model."""


def find_in_forward(session: Session, batch: Batch) -> tuple[str | None, Cause | None]:
    """Run a forward pass and its loss: the first layer whose output is not finite, and the function that made the first such value.

    Minus infinity marks positions that are masked, so it counts only where nothing else is found, or where it was computed.
    """
    mode = _Forward()
    with _first_layer(session.model) as first, torch.no_grad(), suppress(Exception), mode:
        session.output_and_loss(batch)
    return (first[0] if first else None), mode.cause


def find_in_gradient(session: Session, batch: Batch) -> Cause | None:
    """Run a forward and a backward pass: the function whose gradient is the first that is not finite; ``None`` where all are finite."""
    mode = _Gradient()
    with suppress(Exception), torch.enable_grad():
        with mode:
            loss = session.output_and_loss(batch)[1]
        torch.autograd.backward(session.precision.scaled(loss))
    return mode.cause


class _Forward(TorchFunctionMode):
    """Watches the functions of a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.cause: Cause | None = None
        self._masked: Cause | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        # A function that writes into its input takes away what it was given.
        before = None if self.cause or not _writes(func) else (_tensors_bad((args, kwargs)), _lowest((args, kwargs)))
        output = func(*args, **kwargs)
        if self.cause is None:
            with torch._C.DisableTorchFunction():  # noqa: SLF001 - what is asked here is no part of the model
                self._judge(func, (args, kwargs), output, before)
        return output

    def _judge(self, func: Any, given: Any, output: Any, before: tuple[bool, bool] | None) -> None:
        name = _name(func)
        worse, low = _tensors_bad(output), _lowest(output)
        if not worse and not low:
            return
        given_bad, given_low = before if before is not None else (_tensors_bad(given), _lowest(given))
        if worse and not given_bad:
            # Minus infinity that was computed is the cause of what follows from it; a mask is none.
            self.cause = self._masked if given_low and self._masked is not None else Cause(name, calling_line())
        elif low and not given_low and not given_bad and self._masked is None and name not in _MASKING:
            self._masked = Cause(name, calling_line())


class _Gradient(TorchFunctionMode):
    """Labels what autograd records with the function and the line that it comes from, and watches it in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.cause: Cause | None = None
        self._known: dict[int, Any] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        output = func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():  # noqa: SLF001
            nodes = [tensor.grad_fn for _, tensor in named_tensors(output) if tensor.grad_fn is not None]
            if any(id(node) not in self._known for node in nodes):
                self._label(nodes, Cause(_name(func), calling_line()))
        return output

    def _label(self, waiting: list[Any], cause: Cause) -> None:
        """Watch the nodes that one call recorded: those behind its outputs that no earlier call did."""
        while waiting:
            node = waiting.pop()
            if node is None or id(node) in self._known:
                continue
            self._known[id(node)] = node
            if type(node).__name__ != "AccumulateGrad":
                node.register_hook(self._watch(cause))
                waiting.extend(after for after, _ in node.next_functions)

    def _watch(self, cause: Cause) -> Any:
        def look(gives: Any, takes: Any) -> None:
            if self.cause is None and not all(map(all_finite, gives)) and all(map(all_finite, takes)):
                self.cause = cause

        return look


def _name(func: Any) -> str:
    name = getattr(func, "__name__", "function").strip("_")
    return _WORDS.get(name, name)


def _writes(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name.endswith("_") and (not name.startswith("__") or name.startswith("__i") or name == "__setitem__")


def _tensors_bad(value: Any) -> bool:
    """Whether a value holds a tensor with NaN or plus infinity."""
    return any(not all_finite(tensor) and not _only_low(tensor) for _, tensor in named_tensors(value))


def _lowest(value: Any) -> bool:
    """Whether a value holds a tensor with minus infinity."""
    return any(not all_finite(tensor) and _only_low(tensor) for _, tensor in named_tensors(value))


def _only_low(tensor: Tensor) -> bool:
    """Whether all values that are not finite are minus infinity."""
    if tensor.is_complex():
        return False
    held = tensor.detach()
    return bool((held[~torch.isfinite(held)] == -math.inf).all())


def all_finite(tensor: Any) -> bool:
    """Whether a tensor holds finite numbers alone; what is no tensor of real or complex numbers does."""
    if not isinstance(tensor, Tensor) or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    return bool(torch.isfinite(tensor.detach()).all())


@contextmanager
def _first_layer(model: nn.Module) -> Iterator[list[str]]:
    """The module whose output was the first that is not finite, in order of execution; inner modules come before those that hold them."""
    found: list[str] = []
    masked: list[str] = []

    def hook(name: str) -> Any:
        def note(_module: nn.Module, _args: Any, output: Any) -> None:
            if found:
                return
            with torch._C.DisableTorchFunction():  # noqa: SLF001
                if _tensors_bad(output):
                    found.append(name)
                elif _lowest(output):
                    masked.append(name)

        return note

    hookable = [(name, module) for name, module in walk(model) if not isinstance(module, torch.jit.ScriptModule)]
    handles = [module.register_forward_hook(hook(name)) for name, module in hookable]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
        if not found:
            found.extend(masked[:1])
