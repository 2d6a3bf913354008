"""Which modules are one operation, and which are traced inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from normadvisor.graph.canonical import module_op
from normadvisor.graph.recognise import Recogniser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from normadvisor.types import JSONValue

__all__ = ["Leaf", "Leaves", "class_name", "foreign_hooks", "hooked"]

_LIBRARY = ("torch.nn.", "torch.ao.nn.", "torch.ao.quantization.")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A module that is one operation."""

    op: str
    base: type[nn.Module]
    """The class of ``torch.nn`` whose ``forward`` it runs, or its own class when it was recognised by what it computes."""
    known: Mapping[str, JSONValue] = field(default_factory=dict)
    """Attributes that the recogniser measured."""
    recognised: bool = False
    axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Measured statistic axes by rank of the input."""


def class_name(module: nn.Module) -> str:
    """Class name of a module; of the class before parametrization if it is parametrized."""
    cls = type(module)
    if cls.__name__.startswith("Parametrized") and "parametrizations" in module._modules:  # noqa: SLF001
        cls = cls.__bases__[0]
    return cls.__name__


def _old_style(hook: object) -> bool:
    """Whether a pre-hook belongs to ``torch.nn.utils.weight_norm``, ``spectral_norm`` or pruning."""
    return type(hook).__module__.startswith("torch.nn.utils.")


def foreign_hooks(module: nn.Module) -> bool:
    """Whether calling ``module`` runs hooks of the user's, which a symbolic trace of a leaf would skip."""
    hooks = module._forward_pre_hooks  # noqa: SLF001
    return bool(module._forward_hooks) or any(not _old_style(hook) for hook in hooks.values())  # noqa: SLF001


def hooked(module: nn.Module) -> bool:
    """Whether hooks of the user's run around a module, forwards or backwards."""
    return foreign_hooks(module) or bool(module._backward_hooks or module._backward_pre_hooks)  # noqa: SLF001


class Leaves:
    """The leaf predicate, one answer per module, remembered for one trace."""

    def __init__(self, recogniser: Recogniser | None = None) -> None:
        self._found: dict[int, Leaf | None] = {}
        self._recogniser = recogniser or Recogniser()

    def of(self, module: nn.Module) -> Leaf | None:
        """How ``module`` is one operation, ``None`` if it is traced inside."""
        key = id(module)
        if key not in self._found:
            self._found[key] = self._decide(module)
        return self._found[key]

    def _decide(self, module: nn.Module) -> Leaf | None:
        cls = type(module)
        if isinstance(module, torch.jit.ScriptModule):  # their classes have no forward to look at
            return _library_leaf(module)
        known = module_op(cls)
        if known is not None and cls.forward is known[1].forward and "forward" not in vars(module):
            return Leaf(*known)
        if known is not None and known[0] != "other" and _lazily_replaced(cls, known[1]) and "forward" not in vars(module):
            return Leaf(*known)
        home = getattr(cls.forward, "__module__", "") or ""
        if known is None and f"{home}.".startswith(_LIBRARY):
            return _library_leaf(module)
        recognised = self._recogniser.recognise(module)
        if recognised is None:
            return None
        return Leaf(recognised.op, cls, recognised.attrs, recognised=True, axes=recognised.axes)


def _lazily_replaced(cls: type[nn.Module], base: type[nn.Module]) -> bool:
    """Whether ``forward`` comes from torch's own code for a family (e.g. a shared ``_BatchNorm.forward``)."""
    return getattr(cls.forward, "__module__", "").startswith("torch.nn.modules.") and cls.forward is base.forward


def _library_leaf(module: nn.Module) -> Leaf | None:
    """Leaves of torch that are no class of ``torch.nn``: the stubs of quantization change nothing in a float model."""
    if type(module).__name__ in {"QuantStub", "DeQuantStub"}:
        return Leaf("identity", type(module))
    if isinstance(module, torch.jit.ScriptModule):
        return Leaf("other", type(module))
    return None
