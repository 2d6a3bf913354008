"""Arguments of ``forward`` as plain data: their structure and the shapes of their tensors, without what is in these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["described", "made"]


class _Unknown(Exception):  # noqa: N818 -- it says what is the case
    """A value is of a kind that is not written down."""


def described(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments as JSON can hold them.

    Args:
        args: positional ones: tensors, numbers, texts, ``None``, and lists, tuples and dicts of these.
        kwargs: those by name.

    Returns:
        What :func:`made` takes; ``None`` where a value is of another kind.

    """
    try:
        return {"args": [_described(value) for value in args], "kwargs": {name: _described(value) for name, value in kwargs.items()}}
    except _Unknown:
        return None


def made(description: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of that structure, with new tensors.

    Those of floating numbers are standard normal; all others hold ones, which are a valid index nearly anywhere and hide nothing as a mask.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: this is no description.

    """
    generator = torch.Generator().manual_seed(0)

    def value(data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        ((kind, held),) = ((key, held) for key, held in data.items() if key != "dtype")
        if kind == "tensor":
            return _tensor(held, getattr(torch, data["dtype"]), generator)
        return _BUILT[kind]({key: value(each) for key, each in held.items()} if kind == "dict" else [value(each) for each in held])

    return tuple(value(each) for each in description["args"]), {name: value(each) for name, each in description["kwargs"].items()}


def _described(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        return {"tensor": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
    if type(value) in {list, tuple}:
        return {type(value).__name__: [_described(each) for each in value]}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {key: _described(each) for key, each in value.items()}}
    raise _Unknown


def _tensor(shape: list[int], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    if dtype.is_floating_point or dtype.is_complex:
        kind = torch.complex64 if dtype.is_complex else torch.float32
        return torch.randn(shape, generator=generator, dtype=kind).to(dtype)
    return torch.ones(shape, dtype=dtype)


_BUILT: Mapping[str, Callable[[Any], Any]] = {"list": list, "tuple": tuple, "dict": dict}
