"""Runs code that asks for single precision, or for an accelerator, in double precision on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["all_double", "double"]

_DTYPES = {
    torch.float32: torch.float64,
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}
_CASTS = frozenset({"float", "half", "bfloat16", "double"})
_MOVES = frozenset({"cuda", "cpu", "xpu"})
_CPU = torch.device("cpu")


def double(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU, floating and complex values in double precision."""
    return tensor.detach().to("cpu", _DTYPES.get(tensor.dtype, tensor.dtype), copy=True)


class _Double(TorchFunctionMode):
    """Casts to single precision become casts to double, and places on other devices places on the CPU.

    A model that computes its softmax in float32 would otherwise mix precisions, and round 10^8 times coarser than what it is compared
    by. Both models are treated alike, so no difference between them is covered up that would show in exact arithmetic.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _CASTS and getattr(torch.Tensor, name, None) is func:
            return args[0].to(_DTYPES[torch.complex64] if args[0].is_complex() else torch.float64)
        if name in _MOVES and getattr(torch.Tensor, name, None) is func:
            return args[0]
        changed = {key: _placed(value) if key == "device" else _exchanged(value) for key, value in (kwargs or {}).items()}
        if name == "to" and len(args) > 1 and isinstance(args[1], (str, int)) and not isinstance(args[1], bool):
            args = (args[0], _CPU, *args[2:])
        return func(*(_exchanged(arg) for arg in args), **changed)


def _exchanged(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return _DTYPES.get(value, value)
    return _placed(value) if isinstance(value, torch.device) else value


def _placed(value: Any) -> Any:
    return value if value is None else _CPU


@contextmanager
def all_double() -> Iterator[None]:
    """Inside, everything is computed in double precision on the CPU."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("cpu"), _Double():
            yield
    finally:
        torch.set_default_dtype(before)
