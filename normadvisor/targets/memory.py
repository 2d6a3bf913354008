"""Ways of holding a model's weights while it is built: nowhere, nowhere once registered, or in real memory."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

__all__ = ["Memory", "building_in", "reads_values"]

_RANDOM_INITIALISERS = (
    "uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_",
    "sparse_",
)  # fmt: skip


class Memory(StrEnum):
    """Where the weights are while a model is built."""

    META = "meta"
    """Every tensor is created on the meta device: no memory, no values."""
    LIGHT = "light"
    """Tensors have values, but a parameter moves to the meta device as soon as a module registers it."""
    REAL = "real"
    """Everything has values; random initialisation is cut short."""


@contextmanager
def building_in(memory: Memory) -> Iterator[None]:
    """Build what is constructed inside the ``with`` block in one of the ways of :class:`Memory`."""
    import torch

    with ExitStack() as stack:
        if memory is Memory.META:
            stack.enter_context(torch.device("meta"))
        elif memory is Memory.LIGHT:
            stack.enter_context(_parameters_to_meta())
        stack.enter_context(_cheap_initialisation())
        yield


@contextmanager
def _parameters_to_meta() -> Iterator[None]:
    import torch

    original: Any = torch.nn.Module.register_parameter

    def register(module: torch.nn.Module, name: str, param: torch.nn.Parameter | None) -> None:
        original(module, name, param)
        parameters = module._parameters  # noqa: SLF001 -- assigning the attribute would register it again
        held = parameters.get(name)
        if held is not None and not held.is_meta and not torch.nn.parameter.is_lazy(held):
            moved = _on_meta(held)
            if moved is not None:
                parameters[name] = moved

    torch.nn.Module.register_parameter = register  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = original  # type: ignore[method-assign]


def _on_meta(parameter: torch.nn.Parameter) -> torch.nn.Parameter | None:
    """The parameter on the meta device, of its own class and with its own attributes; the same object twice for a shared one."""
    known: torch.nn.Parameter | None = parameter.__dict__.get("_normadvisor_meta")
    if known is None:
        try:
            known = type(parameter)(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
        except TypeError:  # a parameter class with a constructor of its own stays in memory
            return None
        known.__dict__.update(parameter.__dict__)
        parameter.__dict__["_normadvisor_meta"] = known
    return known


def _cut_short(original: Callable[..., Any]) -> Callable[..., Any]:
    """An initialiser that leaves tensors on the meta device alone and fills real ones with one small number."""

    def initialise(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        import torch

        if tensor.is_meta:
            return tensor
        if tensor.numel() > SMALL:
            with torch.no_grad():
                return tensor.fill_(0.01)
        return original(tensor, *args, **kwargs)  # type: ignore[no-any-return]

    return initialise


SMALL = 65536
"""Tensors up to this many elements are initialised as the model says; drawing random numbers for larger ones takes time."""


@contextmanager
def _cheap_initialisation() -> Iterator[None]:
    """Cut the random initialisers of ``torch.nn.init`` short: the values of weights are never looked at."""
    import torch

    saved = {name: getattr(torch.nn.init, name) for name in _RANDOM_INITIALISERS}
    for name, function in saved.items():
        setattr(torch.nn.init, name, _cut_short(function))
    try:
        yield
    finally:
        for name, function in saved.items():
            setattr(torch.nn.init, name, function)


_VALUE_WORDS = (
    "meta tensor", "data-dependent", "data dependent", "Tensor.item()", "data-independent implementation", "unbacked", "FakeTensor",
    "fake tensor", "is not on the expected device",
)  # fmt: skip


def reads_values(error: BaseException) -> bool:
    """Whether an exception came from asking a tensor without memory for its values."""
    text = str(error)
    return any(words in text for words in _VALUE_WORDS)
