"""Activations that are called as functions, seen while a forward pass runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from normadvisor.graph.canonical import function_op

__all__ = ["FunctionalActivations", "calling_module"]

_KINDS = frozenset(
    ["relu", "relu6", "threshold", "gelu", "hardswish", "tanh", "sigmoid", "hardsigmoid", "hardtanh", "softsign", "selu", "elu", "celu"]
)
"""Activations that are flat somewhere."""
_FRAMES = 12
"""Frames between a function and the ``forward`` that called it."""


class FunctionalActivations(TorchFunctionMode):
    """Calls ``report(op, input, args, kwargs, output)`` for each activation function that is called."""

    def __init__(self, report: Callable[[str, torch.Tensor, tuple[Any, ...], dict[str, Any], torch.Tensor], None]) -> None:
        super().__init__()
        self._report = report
        self._ops: dict[Any, str | None] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the function; what it returns is returned."""
        given = dict(kwargs or {})
        output = func(*args, **given)
        op = self._op(func)
        if op is not None and isinstance(output, torch.Tensor):
            given_tensor = args[0] if args else given.get("input")
            if isinstance(given_tensor, torch.Tensor):
                self._report(op, given_tensor, args, given, output)
        return output

    def _op(self, function: Any) -> str | None:
        if function not in self._ops:
            name = getattr(function, "__name__", "")
            op = function_op(function)[0] if name else "other"
            self._ops[function] = op if op in _KINDS else None
        return self._ops[function]


def calling_module(known: Callable[[nn.Module], bool]) -> nn.Module | None:
    """The module whose method is the nearest caller on the stack."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the stack has no other door
    for _ in range(_FRAMES):
        if frame is None:
            return None
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and known(owner):
            return owner
        frame = frame.f_back
    return None
