"""What a model's outputs are: which of them a loss can be put on, how they end, and how far two of them are apart."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from normadvisor.graph.canonical import module_op
from normadvisor.probe.running.trees import float_tensors, named_tensors

__all__ = ["Ending", "Makers", "difference", "ending_of", "leads_to", "loss_in", "losses_in", "primary", "similarity"]

PRIMARY_NAMES = (
    "logits", "prediction_logits", "out", "pred_logits", "prediction", "predictions", "output", "outputs", "recon", "reconstruction",
    "x_hat", "sample", "last_hidden_state",
)  # fmt: skip
"""Entries of an output that are what the model is for, the likeliest first."""
REMEMBERED = 64
"""Tensors whose makers are remembered: those of a network's end; holding all would hold memory that is free in training."""
_LINEAR = frozenset(("linear", "conv", "conv_transpose"))
_TOLERANCE = 1e-3


class Ending(StrEnum):
    """What the last step of a model makes of its outputs."""

    LINEAR = "linear"
    """Any values, from a linear layer or a convolution."""
    SIGMOID = "sigmoid"
    TANH = "tanh"
    SOFTMAX = "softmax"
    LOG_SOFTMAX = "log_softmax"
    OTHER = "other"
    """Features: from a norm, an activation, pooling, or nothing known."""


@dataclass(slots=True)
class Makers:
    """Remembers which module gave each of the last tensors of a forward pass."""

    _last: deque[tuple[Tensor, str]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Note the outputs of every module without children while the block runs."""
        leaves = [module for module in model.modules() if not any(True for _ in module.children()) or module_op(type(module))]
        leaves = [module for module in leaves if not isinstance(module, torch.jit.ScriptModule)]  # those take no hooks
        handles = [module.register_forward_hook(self._note) for module in leaves]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _note(self, module: nn.Module, _args: Any, output: Any) -> None:
        known = module_op(type(module))
        op = known[0] if known else type(module).__name__
        if op in ("identity", "flatten", "reshape", "dropout", "feature_dropout", "permute") or type(module).__name__ == "Identity":
            return
        self._last.extend((tensor, op) for _, tensor in named_tensors(output))

    def op_of(self, tensor: Tensor) -> str | None:
        """Operation of the module that gave a tensor, or the memory that it is a view of; ``None`` where a function made it."""
        for held, op in reversed(self._last):
            if held is tensor or _same_memory(held, tensor):
                return op
        return None


def _same_memory(one: Tensor, other: Tensor) -> bool:
    if one.layout is not torch.strided or other.layout is not torch.strided or not one.numel() or one.numel() != other.numel():
        return False
    return one.data_ptr() == other.data_ptr()


def ending_of(tensor: Tensor, made_by: str | None, axis: int) -> Ending:
    """How a model ends, from the module that made an output and from its values.

    Args:
        tensor: the output.
        made_by: operation of that module, ``None`` where a function made it.
        axis: which axis holds classes, if any.

    """
    if made_by in ("softmax", "log_softmax", "sigmoid", "tanh"):
        return Ending(made_by)
    if made_by in _LINEAR:
        return Ending.LINEAR
    if tensor.is_complex():
        return Ending.OTHER
    values = tensor.detach().float()
    if not bool(torch.isfinite(values).all()):
        return Ending.LINEAR if made_by is None else Ending.OTHER
    lowest, highest = float(values.min()), float(values.max())
    classes = values.shape[axis] if values.ndim > 1 else 1
    if classes > 1 and highest <= _TOLERANCE and bool(((values.exp().sum(axis) - 1).abs() < 1e-2).all()):
        return Ending.LOG_SOFTMAX
    if lowest >= 0 and highest <= 1 + 1e-6:
        if classes > 1 and bool(((values.sum(axis) - 1).abs() < 1e-2).all()):
            return Ending.SOFTMAX
        # A function made it: values that all lie strictly inside (0, 1) come from a sigmoid rather than from a ReLU.
        if made_by is None and lowest > 0 and highest < 1:
            return Ending.SIGMOID
    name = (made_by or "").lower()
    if "linear" in name or "conv" in name or "dense" in name:
        return Ending.LINEAR
    return Ending.OTHER


def leads_to(tensor: Tensor, others: Sequence[Tensor]) -> list[bool]:
    """Which of some tensors went into a tensor: a gradient reaches them through it."""
    wanted = {id(other.grad_fn) for other in others if other.grad_fn is not None}
    met: set[int] = set()
    seen: set[Any] = set()
    stack = [tensor.grad_fn]
    while stack and len(met) < len(wanted):
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if id(node) in wanted:
            met.add(id(node))
        stack.extend(following for following, _ in node.next_functions)
    return [other.grad_fn is not None and id(other.grad_fn) in met for other in others]


def loss_in(output: Any) -> Tensor | None:
    """``output.loss`` or ``output["loss"]`` where that is one number with a gradient."""
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(found, Tensor) and found.numel() == 1 and found.requires_grad:
        return found.reshape(())
    return None


def losses_in(output: Any) -> dict[str, Tensor] | None:
    """The losses of an output that is a dictionary of nothing else, as detectors give them in train mode."""
    if not isinstance(output, Mapping) or not output:
        return None
    if not all(isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point() for value in output.values()):
        return None
    return {str(name): value for name, value in output.items()} if any(value.requires_grad for value in output.values()) else None


def primary(output: Any) -> tuple[str, Tensor] | None:
    """The output that the model is for: by its name, else the first that has a gradient; ``None`` if there is none.

    Single numbers come last: they are losses, temperatures and the like.
    """
    tensors = float_tensors(output)
    graded = [(name, tensor) for name, tensor in tensors if tensor.requires_grad] or tensors
    graded = [(name, tensor) for name, tensor in graded if tensor.ndim] or graded
    for wanted in PRIMARY_NAMES:
        for name, tensor in graded:
            if name == wanted:
                return name, tensor
    return graded[0] if graded else None


def difference(one: Sequence[Tensor], other: Sequence[Tensor]) -> float | None:
    """Relative RMS difference: the norm of ``one - other`` over that of ``other``, all tensors together, in float64.

    ``None`` where ``other`` is zero throughout or not finite; values that are infinite alike in both do not differ.
    """
    above = below = 0.0
    for first, second in zip(one, other, strict=True):
        a, b = first.detach().double(), second.detach().double()
        same = torch.isinf(a) & (a == b)  # masked positions hold minus infinity
        a, b = a.masked_fill(same, 0.0), b.masked_fill(same, 0.0)
        above += float((a - b).square().sum())
        below += float(b.square().sum())
    if below == 0 or not math.isfinite(below) or not math.isfinite(above):
        return None
    return math.sqrt(above / below)


def similarity(one: Sequence[Tensor], other: Sequence[Tensor]) -> float | None:
    """Cosine similarity of two lists of tensors, in float64; ``None`` where one is zero or not finite."""
    product = first = second = 0.0
    for a, b in zip(one, other, strict=True):
        x, y = a.detach().double().flatten(), b.detach().double().flatten()
        product += float(x @ y)
        first += float(x @ x)
        second += float(y @ y)
    if not first or not second or not all(map(math.isfinite, (product, first, second))):
        return None
    return max(-1.0, min(1.0, product / math.sqrt(first * second)))
