"""Runs code that asks for single precision, or for an accelerator, in double precision on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
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

    Args:
        in_place: whether operations in place write where they are told to, rather than into a new tensor.

    """

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self._in_place = in_place

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _CASTS and getattr(torch.Tensor, name, None) is func:
            return args[0].to(_DTYPES[torch.complex64] if args[0].is_complex() else torch.float64)
        if name in _MOVES and getattr(torch.Tensor, name, None) is func:
            return args[0]
        changed = {key: _placed(value) if key == "device" else _exchanged(value) for key, value in (kwargs or {}).items()}
        if name == "to" and len(args) > 1 and isinstance(args[1], (str, int)) and not isinstance(args[1], bool):
            args = (args[0], _CPU, *args[2:])
        if not self._in_place:
            func = _apart(func, name, args)
            if changed.get("inplace") is True:
                changed["inplace"] = False
        return func(*(_exchanged(arg) for arg in args), **changed)


def _apart(func: Callable[..., Any], name: str, args: tuple[Any, ...]) -> Callable[..., Any]:
    """What gives the value of an operation in place as a new tensor; ``func`` itself where it is none, or changes what is only stored."""
    if not args or not isinstance(args[0], torch.Tensor) or not args[0].requires_grad or not name.endswith("_"):
        return func
    if name.endswith("__"):
        other = f"__{name[3:]}" if name.startswith("__i") else name  # x += y
        return getattr(torch.Tensor, other, func)
    # A function on its own, such as F.leaky_relu_, need not be a method.
    found = (getattr(place, name[:-1], None) for place in (torch.Tensor, F, torch))
    return next((each for each in found if callable(each)), func)


def _exchanged(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return _DTYPES.get(value, value)
    return _placed(value) if isinstance(value, torch.device) else value


def _placed(value: Any) -> Any:
    return value if value is None else _CPU


@contextmanager
def all_double(*, in_place: bool = True) -> Iterator[None]:
    """Inside, everything is computed in double precision on the CPU, in new tensors throughout unless ``in_place``."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("cpu"), _Double(in_place=in_place):
            yield
    finally:
        torch.set_default_dtype(before)
