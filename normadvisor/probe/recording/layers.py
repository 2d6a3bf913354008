"""Which modules of a model are layers, what they are called, and whose parameters are whose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from normadvisor.errors import UsageError
from normadvisor.graph.canonical import NORMS, module_op
from normadvisor.graph.leaves import class_name
from normadvisor.types import GROUPS

__all__ = ["Held", "Layer", "find_layers", "held_parameters", "refuse_quantized", "unwrapped", "walk"]

_ACTIVATIONS = frozenset(GROUPS["activation"])
_INNER = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Where ``torch.compile``, FSDP and activation checkpointing put the module that they wrap."""


@dataclass(slots=True, eq=False, kw_only=True)
class Layer:
    """One layer, and what was measured of it so far."""

    name: str
    module: nn.Module | None
    """``None`` for a function that is called on something that no layer made."""
    cls: str
    op: str | None
    order: int | None = None
    """Position in order of first execution; ``None`` until it runs."""
    calls: float = 0
    """Runs per forward pass of the model, in the first step in which it ran."""
    units: int | None = None
    axis: int | None = None
    """Where its output holds the units, counted from the front if it is not last (-1)."""
    applied: str | None = None
    """The function without a module of its own that is applied to its output."""
    inside: bool = False
    """An activation: functions that it calls are its own."""
    series: dict[str, list[float | None]] = field(default_factory=dict)
    dead: dict[tuple[str, int], torch.Tensor] = field(default_factory=dict)
    """Units that were dead in every step so far, by the layer in front and their number."""
    gradient_given: bool = False
    """A parameter got a gradient, be it of zeros."""
    gradient_seen: bool = False
    """A trainable parameter got a gradient that is not all zeros."""
    gradient_read: bool = False
    """Gradients were read while it had trainable parameters."""
    bias_ratio: float | None = None
    alike: float | None = None
    """Smallest share of units of a step that are copies of another one."""


@dataclass(frozen=True, slots=True)
class Held:
    """A parameter, and the layer that it is counted with."""

    layer: Layer
    name: str
    parameter: nn.Parameter
    dims: int
    """Axes of the whole parameter; FSDP's first version leaves flat parts of it."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside wrappers of ``torch.compile``, data parallelism, FSDP and activation checkpointing."""
    while True:
        inner = _wrapped(model)
        if inner is None:
            return model
        model = inner


def _wrapped(module: nn.Module) -> nn.Module | None:
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner: nn.Module = module.module
        return inner
    # Attributes of wrappers pass on to what they wrap; and scripted modules have a mapping of their own kind, with less than a dictionary.
    modules = module._modules  # noqa: SLF001
    return next((modules[name] for name in _INNER if name in modules and modules[name] is not None), None)


def walk(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, parents first, with its name as if nothing were wrapped; wrappers are left out.

    What parametrizes a tensor of a module (``torch.nn.utils.parametrize``) is a part of that module and left out too.
    """
    seen: set[int] = set()
    stack = [("", model)]
    while stack:
        name, module = stack.pop()
        module = unwrapped(module)
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield name, module
        children = [
            (f"{name}.{child}" if name else child, each)
            for child, each in module._modules.items()  # noqa: SLF001 - in order, repeated ones included
            if each is not None and not (child == "parametrizations" and _parametrized(module))
        ]
        stack.extend(reversed(children))


def _parametrized(module: nn.Module) -> bool:
    return nn.utils.parametrize.is_parametrized(module)


def _own(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters that a module holds itself, what parametrizes it included."""
    for name, parameter in module._parameters.items():  # noqa: SLF001 - parameters() leaves out shared ones
        if parameter is not None:
            yield name, parameter
    if _parametrized(module):
        inner: Any = module.parametrizations
        for name, parameter in inner.named_parameters():
            yield f"parametrizations.{name}", parameter


def _lazy(parameter: torch.Tensor) -> bool:
    """Whether a lazy module has not run yet, so that its parameter has no shape."""
    return nn.parameter.is_lazy(parameter)


def find_layers(model: nn.Module, ops: Mapping[str, str | None] | None = None) -> dict[nn.Module, Layer]:
    """Modules that hold parameters themselves, norms, and activations, by module and in order of ``named_modules``.

    Args:
        model: its wrappers are seen through.
        ops: canonical operation by module name; a name that is missing is decided by its class.

    """
    found: dict[nn.Module, Layer] = {}
    for name, module in walk(model):
        op = ops[name] if ops is not None and name in ops else _op(module)
        if op in NORMS or op in _ACTIVATIONS or next(_own(module), None) is not None:
            found[module] = Layer(name=name, module=module, cls=class_name(module), op=op, inside=op in _ACTIVATIONS)
    return found


def _op(module: nn.Module) -> str | None:
    known = module_op(type(module))
    return None if known is None or known[0] == "other" else known[0]


def held_parameters(layers: Mapping[nn.Module, Layer], dims: Mapping[int, int] | None = None) -> tuple[list[Held], dict[str, str]]:
    """Every parameter once, with the layer that it counts with; and by layer whose every parameter is another's, that other.

    A parameter that several layers hold counts with the first of them that runs. Parameters of lazy modules that were not run yet are
    left out.

    Args:
        layers: by module.
        dims: axes of parameters, by identity, of which only flat parts are here.

    """
    whole = dims or {}
    holders: dict[int, list[Held]] = {}
    for module, layer in layers.items():
        for name, parameter in _own(module):
            if not _lazy(parameter):
                holders.setdefault(id(parameter), []).append(Held(layer, name, parameter, whole.get(id(parameter), parameter.dim())))
    chosen = [next((each for each in among if each.layer.order is not None), among[0]) for among in holders.values()]
    owning = {each.layer for each in chosen}
    tied = {
        each.layer.name: owner.layer.name
        for owner, among in zip(chosen, holders.values(), strict=True)
        for each in among
        if each.layer not in owning
    }
    return chosen, tied


def refuse_quantized(model: nn.Module) -> None:
    """Raise an error for a model whose weights are quantized: they have no gradients.

    Raises:
        UsageError: names the first such layer.

    """
    for name, module in walk(model):
        homes = (type(module).__module__ or "").split(".")
        packed = "quantized" in homes and "torch" in homes and hasattr(module, "_packed_params")
        if packed or any(parameter.is_quantized for _, parameter in _own(module) if not _lazy(parameter)):
            raise UsageError(
                f"Layer {name or type(module).__name__!r} holds quantized weights, which have no gradients",
                hint="probe the model before it is quantized",
            )
