"""Conversions of live models: every BatchNorm that is meant, in place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normadvisor.errors import UsageError
from normadvisor.rewrite.convert.chosen import is_chosen
from normadvisor.rewrite.convert.followed import children_behind, followed_by
from normadvisor.rewrite.convert.kinds import KINDS, NotConvertible, built
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.model import CannotChange, ModelChange, put_layers
from normadvisor.rewrite.model.change import demand_initialized, demand_plain
from normadvisor.types.groups import MOST_GROUPS
from normadvisor.types.words import nearest

__all__ = ["ConversionResult", "Converted", "convert_norms"]

_Optimizers = torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None


@dataclass(frozen=True, slots=True)
class Converted:
    """A layer that was converted."""

    name: str
    """Its qualified name; the first one of a shared layer."""
    old: str
    """What it was: ``BatchNorm2d(64, eps=1e-05, ...)``."""
    new: str
    """What it is: ``GroupNorm(32, 64, ...)``."""


@dataclass(frozen=True, slots=True)
class ConversionResult:
    """What became of the layers that were meant."""

    converted: tuple[Converted, ...]
    skipped: tuple[tuple[str, str], ...]
    """Names of layers that are as they were, and why."""
    key_map: KeyMap
    """From the keys of the model's ``state_dict`` before to those after."""
    change: ModelChange = field(repr=False, compare=False)

    def undo(self) -> None:
        """Put the old layers back, and the optimizer's parameters."""
        self.change.undo()

    def __str__(self) -> str:
        """One line for each layer."""
        count = len(self.converted)
        lines = [f"{count} layer{'' if count == 1 else 's'} converted"]
        lines += [f"  {item.name}: {item.old} -> {item.new}" for item in self.converted]
        lines += [f"  {name} is as it was: {reason}" for name, reason in self.skipped]
        return "\n".join(lines)


def convert_norms(
    model: nn.Module,
    to: str,
    *,
    layers: str | Sequence[str] = "*",
    groups: int = MOST_GROUPS,
    optimizer: _Optimizers = None,
) -> ConversionResult:
    """Convert the BatchNorm layers of a model, in place.

    Scale, shift and eps go on; the scale and shift are the same ``Parameter`` objects, so ``requires_grad`` and what an optimizer knows of
    them stay. Momentum and running statistics go on where they mean the same: in SyncBatchNorm, and fixed in FrozenBatchNorm. Mode, hooks
    and sharing are kept, as is an activation or dropout that a derived class runs behind the norm.

    - ``group_norm``: ``GroupNorm`` with :func:`~normadvisor.types.groups.group_count` groups, at most ``groups``.
    - ``layer_norm``: ``GroupNorm`` with one group, which is layer normalization of maps with a scale for each channel, and of ``(N, C)``.
    - ``sync_batch_norm``: ``SyncBatchNorm``, before the model is wrapped for distributed training. It trains on accelerators only.
    - ``frozen_batch_norm``: :class:`~normadvisor.rewrite.convert.FrozenBatchNorm`: in both modes what the layer was in eval mode.
    - ``instance_norm``: ``InstanceNorm1d``, ``2d`` or ``3d`` without running statistics; inputs need more than one position.

    Args:
        model: on any device, ``meta`` included; not compiled, scripted or wrapped for distributed training, but for ``DataParallel``.
        to: one of these names.
        layers: globs over qualified names; ``!glob`` leaves layers out.
        groups: groups of a GroupNorm at most.
        optimizer: the one, or a list of those, that hold the model's parameters.

    Raises:
        UsageError: there is no such conversion, or ``groups`` is below 1.
        CannotChange: layers of such a model cannot be put in place; nothing has been done.

    """
    if to not in KINDS:
        raise UsageError(f"there is no conversion to {to!r}", hint=nearest(to, KINDS) or f"one of {', '.join(KINDS)}")
    if groups < 1:
        raise UsageError(f"a norm cannot have {groups} groups")
    plan = _Plan(to, groups)
    for names, layer in _norms(model):
        if is_chosen(names, layers):
            plan.add(names[0], layer, is_model=layer is model)
    optimizers = list(optimizer) if isinstance(optimizer, Iterable) else optimizer
    change = _put(model, plan, optimizers)
    order = list(dict(model.named_modules(remove_duplicate=False)))
    told = [Converted(name, _shown(plan.old[name]), _shown(layer)) for name, layer in plan.new.items()]
    skipped = sorted(plan.skipped.items(), key=lambda item: order.index(item[0]))
    return ConversionResult(tuple(told), tuple(skipped), change.key_map, change)


class _Plan:
    """New layers for old ones."""

    def __init__(self, to: str, groups: int) -> None:
        self._to, self._groups = to, groups
        self.old: dict[str, nn.Module] = {}
        self.new: dict[str, nn.Module] = {}
        self.origins: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self.skipped: dict[str, str] = {}
        self._known: dict[Hashable, tuple[str, ...] | None] = {}

    def add(self, name: str, layer: _BatchNorm, *, is_model: bool) -> None:
        try:
            new, self.origins[name] = self._new(name, layer, is_model=is_model)
        except (NotConvertible, CannotChange) as refused:
            self.skipped[name] = refused.reason
        else:
            self.old[name], self.new[name] = layer, new

    def _new(self, name: str, layer: _BatchNorm, *, is_model: bool) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
        if is_model:
            raise NotConvertible("it is the model itself, and there is no place to put another layer")
        demand_initialized(name, layer)
        demand_plain(name, layer)
        behind = children_behind(layer, self._known)
        if behind is None:
            raise NotConvertible(f"{type(layer).__name__} does something else than BatchNorm followed by its children")
        made = built(layer, self._to, self._groups)
        new = followed_by(made.layer, layer, behind)
        if new is None:
            raise NotConvertible(f"there is no {type(made.layer).__name__} with layers behind it")
        return new, made.origins

    def drop(self, name: str, reason: str) -> None:
        self.skipped[name] = reason
        for held in (self.old, self.new, self.origins):
            held.pop(name)


def _norms(model: nn.Module) -> list[tuple[list[str], _BatchNorm]]:
    """Every BatchNorm once, with all its names, in the order of the model; those inside another one aside."""
    found: dict[int, _BatchNorm] = {}
    names: dict[int, list[str]] = defaultdict(list)
    inside = {id(child) for module in model.modules() if isinstance(module, _BatchNorm) for child in list(module.modules())[1:]}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, _BatchNorm) and id(module) not in inside:
            found[id(module)] = module
            names[id(module)].append(name)
    return [(names[key], module) for key, module in found.items()]


def _put(model: nn.Module, plan: _Plan, optimizer: _Optimizers) -> ModelChange:
    """Put all layers in place; those that cannot be are left out."""
    try:
        return _put_now(model, plan.new, plan.origins, optimizer)
    except CannotChange:
        put_layers(model, {})  # Raises where it is the model that cannot be changed.
    for name in list(plan.new):
        try:
            _put_now(model, {name: plan.new[name]}, plan.origins, None).undo()
        except CannotChange as refused:
            plan.drop(name, refused.reason)
    return _put_now(model, plan.new, plan.origins, optimizer)


def _put_now(
    model: nn.Module, layers: Mapping[str, nn.Module], origins: Mapping[str, list[tuple[Tensor, Tensor]]], optimizer: _Optimizers
) -> ModelChange:
    pairs = [pair for name in layers for pair in origins[name]]
    return put_layers(model, layers, optimizer=optimizer, origins=pairs)


def _shown(layer: nn.Module) -> str:
    return f"{type(layer).__name__}({layer.extra_repr()})"
