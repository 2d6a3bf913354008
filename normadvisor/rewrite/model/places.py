"""Layers replaced, removed, swapped, added and separated, by putting other modules where they stand."""

from __future__ import annotations

import copy
from collections.abc import Collection

from torch import nn

from normadvisor.graph.model import ModelGraph, NodeInfo
from normadvisor.rewrite.model.build import build
from normadvisor.rewrite.model.carry import carry
from normadvisor.rewrite.model.change import Change, demand_initialized, demand_plain
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.model.rest import with_rest
from normadvisor.types import Operation, Part

__all__ = ["insert_layer", "remove_layer", "replace_layer", "separate_layers", "swap_layers", "wrapped_in"]


def replace_layer(operation: Operation, change: Change) -> None:
    """Build another layer and put it in the place of the old one; :mod:`normadvisor.rewrite.model.carry` says what it takes over."""
    name, old = operation.part.module, change.layer(operation.part)
    demand_initialized(name, old)
    demand_plain(name, old)
    new = build(operation.layer, operation.arguments, change.like(old))
    copied, left = carry(old, new, operation.part.op)
    change.copies(copied)
    if left:
        change.notes.append(f"{name}: {', '.join(left)} of {type(old).__name__} left behind")
    change.replace(name, old, with_rest(name, old, new, change))


def remove_layer(operation: Operation, change: Change, covered: Collection[str]) -> None:
    """Put ``Identity`` in its place, so that the keys of all other layers stay."""
    name, old = operation.part.module, change.layer(operation.part)
    change.demand_all_calls(operation.part, set(covered), "removed")
    for node in change.calls(name):
        if node.cls and _operands(change.graph, node) > 1:
            raise CannotChange(f"{name} is called with more than one argument, of which Identity would not know which to hand on")
    change.replace(name, old, with_rest(name, old, nn.Identity().train(old.training), change))


def swap_layers(operation: Operation, change: Change) -> None:
    """Let two layers change places: each stands under the other's name afterwards."""
    if operation.other is None:
        raise CannotChange(f"{operation.part.module} has no layer to change places with")
    first, second = change.layer(operation.part), change.layer(operation.other)
    names = operation.part.module, operation.other.module
    for name, layer in zip(names, (first, second), strict=True):
        _demand_whole(name, layer, change)
        calls = len(change.calls(name))
        if calls > 1:
            raise CannotChange(f"{name} runs {calls} times; only an edit of the source can tell its calls apart")
    if first is second or any(inner is second for inner in first.modules()) or any(inner is first for inner in second.modules()):
        raise CannotChange(f"{names[0]} and {names[1]} are not apart from one another")
    _demand_line(change.graph, operation.part, operation.other)
    change.slots.replace([(first, second), (second, first)], change.journal)
    # Each name now means the other layer: later operations follow the layers, which keep the names they had.


def insert_layer(operation: Operation, change: Change, covered: Collection[str]) -> None:
    """Put ``Sequential(layer, new)`` in the place of the layer: the keys of the layer itself get ``.0`` inserted, all others stay."""
    name, old = operation.part.module, change.layer(operation.part)
    change.demand_all_calls(operation.part, set(covered), "followed by another layer")
    _demand_whole(name, old, change)
    new = build(operation.layer, operation.arguments, change.like(old))
    change.joins(new, old)
    around = nn.Sequential(old, new).train(old.training)
    wrapped_in(name, old, around, change)


def separate_layers(operation: Operation, change: Change) -> None:
    """Give every place where a shared layer stands one of its own, with the numbers of the shared one.

    That is enough where the layer stands in several places, each of which runs once. Where ``forward`` calls one attribute several times
    there is a single place, and nothing outside of ``forward`` could tell its calls apart: counting them would go wrong as soon as a part
    of the model runs on its own or is run again for activation checkpointing.

    Raises:
        CannotChange: the layer does not stand in as many places as it runs.

    """
    name, layer = operation.part.module, change.layer(operation.part)
    demand_initialized(name, layer)
    slots, calls = change.slots.of(layer), len(change.calls(name))
    if calls < 2:
        raise CannotChange(f"{name} does not run several times")
    if len(slots) != calls or change.slots.in_plain_sight(layer):
        raise CannotChange(
            f"{name} runs {calls} times from {len(slots)} place{'s' * (len(slots) != 1)}; only an edit of the source can separate it"
        )
    for parent, key in slots[1:]:
        try:
            own = copy.deepcopy(layer)
        except (RuntimeError, TypeError) as error:
            raise CannotChange(f"{name} cannot be copied: {error}") from error
        tensors = [*layer.parameters(), *layer.buffers()]
        change.copies(list(zip([*own.parameters(), *own.buffers()], tensors, strict=True)))
        for parameter, original in zip(own.parameters(), layer.parameters(), strict=True):
            change.near[id(parameter)] = [original]
        change.slots.put(parent, key, own, change.journal)


def wrapped_in(name: str, old: nn.Module, around: nn.Module, change: Change) -> None:
    """Put a module that holds ``old`` in its place."""
    try:
        change.slots.replace([(old, around)], change.journal)
    except CannotChange as refused:
        raise CannotChange(f"{name or 'the model'}: {refused.message}") from None
    change.slots.hold(around)
    change.kept.append(around)


def _demand_whole(name: str, layer: nn.Module, change: Change) -> None:
    if change.is_more(name, layer):
        raise CannotChange(f"{name} ({type(layer).__name__}) does more than one operation, and the rest of it would be lost")


def _operands(graph: ModelGraph | None, node: NodeInfo) -> int:
    if graph is None or graph.fx_graph is None:
        return len(node.inputs)
    call = next((found for found in graph.fx_graph.nodes if found.name == node.name), None)
    return len(node.inputs) if call is None else len(call.args) + len(call.kwargs)


def _demand_line(graph: ModelGraph | None, part: Part, other: Part) -> None:
    """Refuse to swap layers whose values go elsewhere on the way from one to the other."""
    if graph is None:
        raise CannotChange("without a graph it is not known whether the layers follow one another")
    by_name = {node.name: node for node in graph.nodes}
    node, last = by_name.get(part.node), by_name.get(other.node)
    if node is None or last is None:
        raise CannotChange(f"{(part if node is None else other).module} did not run")
    while node is not last:
        ahead = sorted(set(node.users))
        if len(ahead) != 1 or len(graph.nodes[ahead[0]].inputs) != 1:
            raise CannotChange(f"what {part.module} gives does not go to {other.module} alone")
        node = graph.nodes[ahead[0]]
