"""Inputs as data: what ``--input`` says, what inference guesses, and the tensors made of either.

A value is a :class:`TensorSpec`, a Python scalar, ``None``, or a list, tuple or dict of values. The text forms are
``2x3x224x224``, ``2x16:int64``, ``scalar:float32``, ``0.5``, ``True``, ``None``, ``[3x32x32, 3x40x40]``, ``(2x8, 2x8)`` and
``{boxes=4x4, labels=4:int64}``; a name and ``=`` before it make a keyword argument.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from normadvisor.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["DTYPES", "InputSpec", "Inputs", "TensorSpec", "Value", "format_value", "make_tensors", "parse_input"]

DTYPES = (
    "float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "complex128",
)  # fmt: skip
_ALIASES = {"float": "float32", "half": "float16", "double": "float64", "long": "int64", "int": "int64", "short": "int16"}

MAX_DEPTH = 8
"""How deep lists and dicts of one input may nest."""
MAX_RANK = 12
"""Most dimensions of one input tensor."""
MAX_ELEMENTS = 2**31
"""Most elements of one input tensor that has real memory."""

Value: TypeAlias = "TensorSpec | None | bool | int | float | str | list[Value] | tuple[Value, ...] | dict[str, Value]"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor to be made.

    ``high`` bounds the values of integer tensors (exclusive), as ids of an embedding need. ``values`` gives the flat values
    where they matter (grid sizes, lengths); such a tensor is made in real memory even for a model on the meta device.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    high: int = 2
    values: tuple[float, ...] | None = None

    def __str__(self) -> str:
        """The text form, ``2x3x224x224`` or ``2x16:int64``."""
        shape = "x".join(map(str, self.shape)) or "scalar"
        return shape if self.dtype == "float32" and self.shape else f"{shape}:{self.dtype}"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One ``--input``: a value, and the argument it is for (empty: the next positional one)."""

    value: Value
    name: str = ""

    def __str__(self) -> str:
        """The text that parses to this."""
        return f"{self.name}={format_value(self.value)}" if self.name else format_value(self.value)


@dataclass(slots=True)
class Inputs:
    """Arguments for one forward pass.

    ``spec`` says them as ``--input`` would (several joined by a space), ``given`` whether the user did, ``why`` where they come from.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    spec: str = ""
    given: bool = False
    why: str = ""
    remake: Callable[[str], Inputs] | None = field(default=None, repr=False, compare=False)
    """Makes the same inputs on another device; with values of their own where these have none."""

    def on(self, device: str) -> Inputs:
        """The same inputs on a device.

        Raises:
            InputError: a tensor does not fit into memory.

        """
        return self if self.remake is None else self.remake(device)


def format_value(value: Value) -> str:
    """The text form of a value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={format_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        inner = ", ".join(map(format_value, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, str):
        return f"'{value}'"
    return str(value)


_SHAPE = re.compile(r"\d+(?:x\d+)*")
_NAME = re.compile(r"([^\W\d]\w*)\s*=(?!=)")


def parse_input(text: str) -> InputSpec:
    """Parse the text of one ``--input``.

    Raises:
        InputError: the text is not an input.

    """
    rest = text.strip()
    name = ""
    if match := _NAME.match(rest):
        name, rest = match[1], rest[match.end() :]
    return InputSpec(_parse(rest.strip(), text, 0), name)


def _parse(text: str, whole: str, depth: int) -> Value:
    if depth > MAX_DEPTH:
        message = f"the input {whole[:60]!r} nests more than {MAX_DEPTH} deep"
        raise InputError(message)
    if text[:1] in {"[", "(", "{"}:
        return _parse_group(text, whole, depth)
    words: dict[str, Value] = {"None": None, "True": True, "False": False}
    if text in words:
        return words[text]
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text) and not re.fullmatch(r"[-+]?\d+", text):
        return float(text)
    if re.fullmatch(r"[-+]\d{1,18}", text):
        return int(text)
    return _parse_tensor(text, whole)


def _parse_group(text: str, whole: str, depth: int) -> Value:
    closing = {"[": "]", "(": ")", "{": "}"}[text[0]]
    if not text.endswith(closing) or len(text) < 2:
        message = f"the input {whole[:60]!r} lacks a closing {closing!r}"
        raise InputError(message)
    parts = _split(text[1:-1])
    if closing != "}":
        items = [_parse(part, whole, depth + 1) for part in parts]
        return items if closing == "]" else tuple(items)
    entries: dict[str, Value] = {}
    for part in parts:
        match = _NAME.match(part)
        if not match:
            message = f"{part!r} in the input {whole[:60]!r} has no name"
            raise InputError(message, hint="entries of {...} are written name=2x4")
        entries[match[1]] = _parse(part[match.end() :].strip(), whole, depth + 1)
    return entries


def _split(text: str) -> list[str]:
    """Parts between commas that stand outside brackets."""
    parts, depth, start = list[str](), 0, 0
    for i, char in enumerate(text):
        depth += (char in "[({") - (char in "])}")
        if char == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part] if parts[-1] == "" else parts


def _parse_tensor(text: str, whole: str) -> TensorSpec:
    shape_text, colon, dtype = text.partition(":")
    shape_text, dtype = shape_text.strip(), dtype.strip().removeprefix("torch.")
    dtype = _ALIASES.get(dtype, dtype)
    if colon and dtype not in DTYPES:
        close = difflib.get_close_matches(dtype, [*DTYPES, *_ALIASES], n=1)
        message = f"unknown dtype {dtype!r} in the input {whole[:60]!r}"
        raise InputError(message, hint=f"did you mean {close[0]!r}?" if close else f"one of {', '.join(DTYPES)}")
    if shape_text == "scalar":
        return TensorSpec((), dtype or "float32")
    lowered = shape_text.lower().replace("\N{MULTIPLICATION SIGN}", "x").replace("*", "x")
    if not _SHAPE.fullmatch(lowered) or not lowered.isascii():
        message = f"the input {whole[:60]!r} is not a shape"
        raise InputError(message, hint="sizes are joined by x, a dtype follows a colon: 2x3x224x224, 2x16:int64, mask=2x16:bool")
    sizes = lowered.split("x")
    if len(sizes) > MAX_RANK or any(len(size) > 12 for size in sizes):
        message = f"the input {whole[:60]!r} is too large"
        raise InputError(message)
    shape = tuple(map(int, sizes))
    if 0 in shape:
        message = f"the input {whole[:60]!r} is empty: a size is 0"
        raise InputError(message)
    return TensorSpec(shape, dtype or "float32")


def make_tensors(value: Value, device: str) -> Any:
    """The value with every :class:`TensorSpec` made into a tensor on ``device``.

    Raises:
        InputError: a tensor in real memory would have more than ``MAX_ELEMENTS`` elements.

    """
    if isinstance(value, TensorSpec):
        return _tensor(value, device)
    if isinstance(value, dict):
        return {key: make_tensors(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(make_tensors(item, device) for item in value)
    return value


def _tensor(spec: TensorSpec, device: str) -> torch.Tensor:
    import math

    import torch

    dtype: torch.dtype = getattr(torch, spec.dtype)
    if spec.values is not None:
        return torch.tensor(spec.values, dtype=torch.float64).to(dtype).reshape(spec.shape)
    if device == "meta":
        return torch.empty(spec.shape, dtype=dtype, device="meta")
    if math.prod(spec.shape) > MAX_ELEMENTS:
        message = f"an input of {spec} does not fit into memory"
        raise InputError(message)
    generator = torch.Generator().manual_seed(0)
    if dtype is torch.bool:
        return torch.ones(spec.shape, dtype=dtype)
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(spec.shape, generator=generator).to(dtype)
    return torch.randint(0, max(1, min(spec.high, torch.iinfo(dtype).max)), spec.shape, generator=generator).to(dtype)
