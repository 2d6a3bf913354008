"""Tensors and modules of a live model exchanged through a journal, as the steps say that are recorded on the way."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import fx, nn

from normadvisor.optimization.candidate import StateStep
from normadvisor.optimization.folding.inline import Inline
from normadvisor.optimization.folding.state import computed
from normadvisor.optimization.forward import find, install
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.model.slots import Slots

__all__ = ["Held", "Live", "chained", "gone_of", "shell_of"]


class Live:
    """A model while it is changed."""

    def __init__(self, model: nn.Module, journal: Journal) -> None:
        self.model, self.journal = model, journal
        self.modules = dict(model.named_modules(remove_duplicate=False))

    def module(self, name: str) -> nn.Module:
        """The module of a name.

        Raises:
            CannotChange: there is none.

        """
        if name not in self.modules:
            raise CannotChange(f"the model has no layer {name}")
        found: nn.Module = self.modules[name]
        return found

    def names(self, module: nn.Module) -> list[str]:
        """All names that a module has."""
        return [name for name, other in self.modules.items() if other is module]

    def keys(self, name: str, attribute: str) -> list[str]:
        """All keys of a parameter or buffer by the names of its module, the one asked for first."""
        names = dict.fromkeys((name, *self.names(self.module(name))))
        return [f"{each}.{attribute}" if each else attribute for each in names]

    def tensor(self, key: str) -> torch.Tensor:
        """A parameter or buffer.

        Raises:
            CannotChange: there is none of that name.

        """
        owner, _, attribute = key.rpartition(".")
        value = getattr(self.module(owner), attribute, None)
        if not isinstance(value, torch.Tensor):
            raise CannotChange(f"the model has no {key}")
        return value

    def ready(self, steps: Sequence[StateStep]) -> list[dict[str, torch.Tensor]]:
        """What each step gives, computed before anything is changed. No step may read what another writes.

        Raises:
            CannotChange: a value is missing or cannot be folded.

        """
        try:
            return [computed(step, {key: self.tensor(key) for key in step.sources}) for step in steps]
        except KeyError as error:
            raise CannotChange(str(error.args[0])) from error

    def write(self, values: Mapping[str, torch.Tensor]) -> None:
        """Put tensors into their modules; a parameter where there was one, with the same need of gradients."""
        written: dict[tuple[int, str], None] = {}
        for key, value in values.items():
            owner, _, attribute = key.rpartition(".")
            module = self.module(owner)
            if (id(module), attribute) in written:
                continue
            written[id(module), attribute] = None
            self._set(module, attribute, value)

    def _set(self, module: nn.Module, attribute: str, value: torch.Tensor) -> None:
        if attribute in module._buffers:  # noqa: SLF001
            self.journal.set_item(module._buffers, attribute, value)  # noqa: SLF001
            return
        old = module._parameters.get(attribute)  # noqa: SLF001
        near = old if old is not None else next(iter(module.parameters(recurse=False)), None)
        if attribute in vars(module):
            self.journal.pop(vars(module), attribute)
        parameter = nn.Parameter(value, requires_grad=value.is_floating_point() and (near is None or near.requires_grad))
        self.journal.set_item(module._parameters, attribute, parameter)  # noqa: SLF001

    def drop(self, key: str) -> None:
        """Take a parameter or buffer out of its module."""
        owner, _, attribute = key.rpartition(".")
        module = self.module(owner)
        for kind in ("_parameters", "_buffers"):
            held = vars(module)[kind]
            if attribute in held:
                self.journal.set_item(vars(module), kind, {name: value for name, value in held.items() if name != attribute})

    def edit(self, call: Inline, change: Callable[[fx.Graph, fx.Node], None]) -> None:
        """Change a call in a forward, which cannot run as it was from then on: what it reads has been folded.

        Raises:
            CannotChange: the forward is not what was followed.

        """
        edit = lambda graph, _module: change(graph, find(graph, call.node))  # noqa: E731
        install(self.model, call.local.name, edit, call.local, self.journal, gone=gone_of(call.local.name))

    def put(self, name: str, new: nn.Module) -> None:
        """Put a module in the place of another, everywhere where that stands.

        Raises:
            CannotChange: a place cannot be written to.

        """
        old = self.module(name)
        new.train(old.training)
        try:
            self._slots(old).replace([(old, new)], self.journal)
        except CannotChange as refused:
            raise CannotChange(f"{name}: {refused.message}") from None

    def _slots(self, old: nn.Module) -> Slots:
        """Where layers stand: what is known from the change before, unless something else has been changed since."""
        slots = _SLOTS.get(self.journal)
        places = {tuple(name.rpartition(".")[::2]) for name in self.names(old)}
        if slots is not None:
            known = {(id(parent), key) for parent, key in slots.of(old)}
            if known == {(id(self.modules[parent]), key) for parent, key in places}:
                return slots
        _SLOTS[self.journal] = slots = Slots(self.model)
        return slots


_SLOTS: WeakKeyDictionary[Journal, Slots] = WeakKeyDictionary()
"""Of the models that are being changed, for as long as they are: to look through a large model for every layer takes longer than all the
rest. They hold their model, so that by the model itself they would be held for ever."""


def gone_of(name: str) -> str:
    """What a forward says that was changed together with weights, where it is called in a way it was not traced for."""
    told = f"the forward of {name}" if name else "the forward of the model"
    return f"{told} was folded for inference with other arguments, in another mode or with other settings; use the model as it was before"


def chained(layers: Sequence[tuple[str, nn.Module]]) -> nn.Module:
    """Layers one after another: themselves if it is one without a state, ``Identity`` if there is none.

    A ``Sequential`` keeps their names, and with them the keys of what they hold.
    """
    kept = [(key, layer) for key, layer in layers if not isinstance(layer, nn.Identity)]
    if not kept:
        return nn.Identity()
    held: Any = [*kept[0][1].parameters(), *kept[0][1].buffers()]
    if len(kept) == 1 and not held:
        return kept[0][1]
    return nn.Sequential(OrderedDict(kept))


def shell_of(module: nn.Module) -> nn.Module:
    """The same layer, with the same tensors, in an object with dictionaries of its own.

    ``copy.copy`` refuses parametrized layers, and hooks of ``torch.nn.utils`` leave a weight behind that is part of a graph.
    """
    shell = type(module).__new__(type(module))
    held = {name: value.detach() if isinstance(value, torch.Tensor) else value for name, value in vars(module).items()}
    vars(shell).update(held)
    for key in ("_parameters", "_buffers", "_modules"):
        vars(shell)[key] = dict(vars(module)[key])
    return shell


class Held:
    """A module as it is now, to be copied later, without keeping its tensors alive once the model has let go of them."""

    def __init__(self, module: nn.Module) -> None:
        self._shell = shell_of(module)
        self._tensors: dict[tuple[str, str], Any] = {}
        for kind in ("_parameters", "_buffers"):
            held = dict(vars(module)[kind])
            self._tensors |= {(kind, name): None if value is None else ref(value) for name, value in held.items()}
            vars(self._shell)[kind] = dict.fromkeys(held)

    def copied(self) -> nn.Module:
        """A copy of the module as it was.

        Raises:
            CannotChange: the model has been changed since, and the tensors are gone.

        """
        shell = shell_of(self._shell)
        tensors = {place: None if held is None else held() for place, held in self._tensors.items()}
        if any(value is None for place, value in tensors.items() if self._tensors[place] is not None):
            raise CannotChange("the layer has been changed since it was found")
        for kind in ("_parameters", "_buffers"):
            vars(shell)[kind] = {name: value for (of, name), value in tensors.items() if of == kind}
        return copy.deepcopy(shell)
