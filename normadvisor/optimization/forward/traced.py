"""Stand-ins for values while a forward is traced: each knows its node, and what it was when the module ran."""

from __future__ import annotations

import dis
import operator
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

if TYPE_CHECKING:
    from normadvisor.optimization.forward.tracer import Tracer

__all__ = ["Traced"]

_BINARY = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "and", "or", "xor",
)  # fmt: skip
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_UNARY = ("neg", "pos", "invert", "abs")
_OPERATORS = {"and": "and_", "or": "or_"}


class Traced:
    """A value in the making. Whoever asks for its truth, its size or its number gets that of the recorded run, and a guard says so."""

    __slots__ = ("_node", "_tracer")
    _node: fx.Node
    _tracer: Tracer

    def __init__(self, node: fx.Node, tracer: Tracer) -> None:
        object.__setattr__(self, "_node", node)
        object.__setattr__(self, "_tracer", tracer)

    @property
    def _value(self) -> Any:
        return self._node.meta["value"]

    def __repr__(self) -> str:
        return f"Traced({self._node.name})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._tracer.attribute(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._tracer.refuse(f"writes {name} of what another call returned")

    def __getitem__(self, key: Any) -> Any:
        return self._tracer.call("call_function", operator.getitem, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        self._tracer.call("call_function", operator.setitem, (self, key, value), {})

    def __call__(self, *_: Any, **__: Any) -> Any:
        """An object that was computed cannot be followed into."""
        return self._tracer.refuse("calls an object that was computed")

    def __iter__(self) -> Iterator[Any]:
        count = len(self._value) if isinstance(self._value, torch.Tensor) and _is_unpacked(len(self._value)) else len(self)
        return iter([self[index] for index in range(count)])

    def __len__(self) -> int:
        return self._tracer.length(self)

    def __bool__(self) -> bool:
        return bool(self._tracer.taken(self, bool))

    def __index__(self) -> int:
        return int(self._tracer.taken(self, operator.index))

    def __int__(self) -> int:
        return int(self._tracer.taken(self, int))

    def __float__(self) -> float:
        return float(self._tracer.taken(self, float))

    def __contains__(self, item: Any) -> bool:
        return bool(self._tracer.call("call_function", operator.contains, (self, item), {}))

    __hash__ = object.__hash__

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Record a call of a torch function."""
        del types
        tracer = next(_tracers((args, kwargs or {})))
        name = getattr(func, "__name__", "")
        if torch.overrides.is_tensor_method_or_property(func):
            if name in {"__get__", "__set__"}:
                return tracer.refuse(f"uses {name} of a property of tensors")
            return tracer.call("call_method", name, args, kwargs or {})
        return tracer.call("call_function", func, args, kwargs or {})


def _is_unpacked(count: int) -> bool:
    """Whether the caller of ``__iter__`` writes ``a, b = value``, which takes that many values and no others."""
    frame = sys._getframe(2)  # noqa: SLF001 -- the documented way to look at the caller
    instruction = next((each for each in dis.get_instructions(frame.f_code) if each.offset == frame.f_lasti), None)
    return instruction is not None and instruction.opname == "UNPACK_SEQUENCE" and instruction.argval == count


def _tracers(value: Any) -> Iterator[Tracer]:
    if type(value) is Traced:
        yield value._tracer  # noqa: SLF001 -- of the same class
    elif type(value) is dict:
        yield from _tracers(list(value.values()))
    elif type(value) in {list, tuple}:
        for item in value:
            yield from _tracers(item)
    elif type(value) is slice:
        yield from _tracers([value.start, value.stop, value.step])


def _binary(name: str, *, reflected: bool = False) -> Callable[[Traced, Any], Any]:
    function = getattr(operator, _OPERATORS.get(name, name))

    def method(self: Traced, other: Any) -> Any:
        return self._tracer.call("call_function", function, (other, self) if reflected else (self, other), {})

    return method


def _unary(name: str) -> Callable[[Traced], Any]:
    function = getattr(operator, name)

    def method(self: Traced) -> Any:
        return self._tracer.call("call_function", function, (self,), {})

    return method


def _in_place(name: str) -> Callable[[Traced, Any], Any]:
    plain, function = getattr(operator, _OPERATORS.get(name, name)), getattr(operator, f"i{name}")

    def method(self: Traced, other: Any) -> Any:
        changes = isinstance(self._value, torch.Tensor)  # numbers do not change
        return self._tracer.call("call_function", function if changes else plain, (self, other), {})

    return method


for _name in _BINARY:
    setattr(Traced, f"__{_name}__", _binary(_name))
    setattr(Traced, f"__r{_name}__", _binary(_name, reflected=True))
    setattr(Traced, f"__i{_name}__", _in_place(_name))
for _name in _COMPARISONS:
    setattr(Traced, f"__{_name}__", _binary(_name))
for _name in _UNARY:
    setattr(Traced, f"__{_name}__", _unary(_name))
