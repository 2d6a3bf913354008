"""A change in the making: the model, where its layers stand, and what was done so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from normadvisor.graph.canonical import module_op
from normadvisor.graph.model import ModelGraph, NodeInfo
from normadvisor.rewrite.model.build import Like, is_of_weight, move_hooks
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.model.slots import Slots
from normadvisor.types import Part

__all__ = ["Change", "demand_initialized", "demand_plain"]


@dataclass(slots=True)
class Change:
    """What the single kinds of operations work with."""

    model: nn.Module
    graph: ModelGraph | None
    journal: Journal
    slots: Slots
    layers: dict[str, nn.Module]
    """Every module by each of its names before the change."""
    heirs: dict[int, nn.Module] = field(default_factory=dict)
    """What took the place of a layer, by the layer's identity."""
    origins: dict[int, int] = field(default_factory=dict)
    """Identity of a new tensor to that of the old one whose numbers it has."""
    near: dict[int, list[nn.Parameter]] = field(default_factory=dict)
    """Parameters whose group of an optimizer a new one joins, by its identity."""
    instead: dict[int, nn.Parameter] = field(default_factory=dict)
    """The parameter whose place a new one takes."""
    kept: list[object] = field(default_factory=list)
    """What must stay alive while identities are compared."""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, model: nn.Module, graph: ModelGraph | None) -> Change:
        """A change of which nothing has been done yet."""
        return cls(model, graph, Journal(), Slots(model), dict(model.named_modules(remove_duplicate=False)))

    def layer(self, part: Part) -> nn.Module:
        """The layer of a part, or what has taken its place since.

        Raises:
            CannotChange: there is none: the part is a call, or the model has no such module.

        """
        if not part.is_layer and not self._calls_itself(part):
            told = part.op.replace("_", " ") or "operation"
            where = f"forward of {part.module}" if part.module else "forward of the model"
            raise CannotChange(f"the {told} is a call in {where}, which only an edit of the source can change")
        return self.named(part.module)

    def _calls_itself(self, part: Part) -> bool:
        """Whether the call is what the layer around it is: ``F.batch_norm`` in a class derived from ``BatchNorm2d``."""
        known = module_op(type(self.layers[part.module])) if part.module in self.layers else None
        return known is not None and known[0] == part.op

    def is_more(self, name: str, layer: nn.Module) -> bool:
        """Whether a layer does more than the class of ``torch.nn`` it derives from, as one that holds an activation.

        A class that the graph shows as one operation does no more than that operation, however it is written.
        """
        known = module_op(type(layer))
        if known is None or any(node.cls for node in self.calls(name)):
            return False
        cls: type[nn.Module] = type(layer)
        if cls.__name__.startswith("Parametrized"):
            cls = cls.__mro__[1]
        return cls.forward is not known[1].forward

    def named(self, name: str) -> nn.Module:
        """The layer that had ``name``, or what has taken its place since."""
        if name not in self.layers:
            raise CannotChange(f"the model has no layer {name or '(itself)'}")
        found = self.layers[name]
        while id(found) in self.heirs:
            found = self.heirs[id(found)]
        if isinstance(found, torch.jit.ScriptModule):
            raise CannotChange(
                f"{name or 'the model'} is a scripted module, which cannot be changed; change the model before it is scripted"
            )
        return found

    def calls(self, name: str) -> list[NodeInfo]:
        """The nodes that are runs of a layer, or of the function that a derived class calls for the operation of its class."""
        if self.graph is None or name not in self.layers:
            return []
        same = {other for other, layer in self.layers.items() if layer is self.layers[name]}
        known = module_op(type(self.layers[name]))
        return [node for node in self.graph.nodes if node.module in same and (node.cls or (known is not None and node.op == known[0]))]

    def demand_all_calls(self, part: Part, covered: set[str], what: str) -> None:
        """Refuse what is meant for some of a layer's runs only.

        Args:
            part: the layer.
            covered: names of the nodes that it is meant for.
            what: what would be done: ``removed``.

        """
        calls = [node.name for node in self.calls(part.module)]
        missing = [name for name in calls if name not in covered]
        if part.node and missing:
            raise CannotChange(
                f"{part.module} runs {len(calls)} times and would be {what} for only {len(calls) - len(missing)} of them; "
                "only an edit of the source can tell its calls apart"
            )

    def like(self, layer: nn.Module) -> Like:
        """What a layer that is built for the place of ``layer`` takes over."""
        return Like.of(layer, self.neighbours(layer))

    def neighbours(self, layer: nn.Module) -> list[nn.Parameter]:
        """The layer's own parameters, or those of the nearest module around it that has any."""
        seen = set()
        around: nn.Module | None = layer
        while around is not None and id(around) not in seen:
            seen.add(id(around))
            held = list(around.parameters())
            if held:
                return held
            around = self.slots.parent(around)
        return list(self.model.parameters())

    def replace(self, name: str, old: nn.Module, new: nn.Module, *, hooks: bool = True) -> None:
        """Put ``new`` wherever ``old`` stands, with its hooks."""
        self.joins(new, old)
        if hooks:
            move_hooks(old, new)
        try:
            self.slots.replace([(old, new)], self.journal)
        except CannotChange as refused:
            raise CannotChange(f"{name or 'the model'}: {refused.message}") from None
        self.slots.hold(new)
        self.heirs[id(old)] = new
        self.kept += [old, new]

    def joins(self, new: nn.Module, old: nn.Module) -> None:
        """Note whose group of an optimizer the parameters of ``new`` join."""
        near = self.neighbours(old)
        before = dict(old.named_parameters())
        for name, parameter in new.named_parameters():
            self.near.setdefault(id(parameter), near)
            if name in before:
                self.instead.setdefault(id(parameter), before[name])
        self.kept += [new, old]

    def copies(self, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Note that the first of each pair has the numbers of the second."""
        for new, old in pairs:
            self.origins[id(new)] = self.origins.get(id(old), id(old))
            self.kept += [new, old]


def demand_initialized(name: str, layer: nn.Module) -> None:
    """Refuse a lazy layer that has not run yet: nothing is known of its shapes."""
    held: list[Any] = [*layer.parameters(), *layer.buffers()]
    if any(isinstance(value, UninitializedParameter | UninitializedBuffer) for value in held):
        raise CannotChange(f"{name} is lazy and has no shapes yet; run the model once before")


def demand_plain(name: str, layer: nn.Module) -> None:
    """Refuse a layer that is more than its class: parametrized, with another ``forward`` of its own, or with a computed weight."""
    if "parametrizations" in layer._modules and type(layer).__name__.startswith("Parametrized"):  # noqa: SLF001
        raise CannotChange(f"{name} is parametrized; take the parametrization off before")
    if any(is_of_weight(hook) for hook in layer._forward_pre_hooks.values()):  # noqa: SLF001
        raise CannotChange(f"{name} computes its weight in a hook of torch.nn.utils; take that off before")
    if "forward" in vars(layer):
        raise CannotChange(f"{name} has a forward of its own that was set on the object")
