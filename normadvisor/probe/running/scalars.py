"""Numbers among a model's outputs that are losses: nobody regresses a single number to targets, one for a whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from normadvisor.errors import ProbeError
from normadvisor.probe.running.outputs import leads_to, losses_in
from normadvisor.probe.running.trees import float_tensors

__all__ = ["computed_loss", "is_loss", "one_number"]


def computed_loss(output: Any) -> list[str] | None:
    """Paths of the outputs whose sum is the loss that the model computes itself; ``None`` where it returns none.

    A number with a gradient is the loss where there is no other output with one, or where it is computed from one, such as the
    reconstruction beside it. Of several the one that the others went into counts, else their sum where there is nothing else.
    """
    tensors = [(name, tensor) for name, tensor in float_tensors(output) if tensor.grad_fn is not None and not tensor.is_complex()]
    numbers = [(name, tensor) for name, tensor in tensors if tensor.ndim == 0]
    others = [tensor for _, tensor in tensors if tensor.ndim > 0]
    if others:
        numbers = [(name, tensor) for name, tensor in numbers if any(leads_to(tensor, others))]
    if not numbers:
        return None
    held = [tensor for _, tensor in numbers]
    total = next((name for name, tensor in numbers if all(leads_to(tensor, [other for other in held if other is not tensor]))), None)
    if total is not None:
        return [total]
    return [numbers[0][0]] if others else [name for name, _ in numbers]


def is_loss(tensor: Tensor) -> bool:
    """Whether a number is a loss rather than a parameter in another form, such as a temperature: more than one parameter is in it."""
    seen: set[Any] = set()
    leaves = 0
    stack = [tensor.grad_fn]
    while stack and leaves < 2:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaves += hasattr(node, "variable")
        stack.extend(following for following, _ in node.next_functions)
    return tensor.ndim == 0 and leaves > 1


def one_number(value: Any, name: str) -> Tensor:
    """A loss function's result as one number: ``(loss, metrics)`` and ``{"loss": ...}`` are understood, several losses added.

    Raises:
        ProbeError: it is something else.

    """
    if isinstance(value, Mapping):
        found = value.get("loss", value.get("total_loss"))
        losses = losses_in(value)
        value = found if found is not None else sum(losses.values()) if losses else value
    if isinstance(value, tuple | list) and value and isinstance(value[0], Tensor):
        value = value[0]
    if not isinstance(value, Tensor):
        message = f"the loss {name} gave a {type(value).__name__} instead of one number"
        raise ProbeError(message, hint="return a scalar tensor, a tuple that begins with one, or a dictionary with the key 'loss'")
    if value.numel() != 1:
        message = f"the loss {name} gave a tensor of shape {'x'.join(map(str, value.shape))} instead of one number"
        raise ProbeError(message, hint="average it over the batch")
    return value.reshape(())
