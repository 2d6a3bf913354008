"""Norms and activations that are layers of their own and run once: a fused layer in the place of one, ``Identity`` in that of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from normadvisor.fused.batch_norm.modules import FusedBatchNormAct1d, FusedBatchNormAct2d, FusedBatchNormAct3d
from normadvisor.fused.group_norm.layer import FusedGroupNormAct
from normadvisor.graph.leaves import hooked
from normadvisor.graph.model import ModelGraph, NodeInfo
from normadvisor.optimization.candidate import Candidate, Refused, Setting, StateStep
from normadvisor.optimization.fusing.activations import Activation, activation
from normadvisor.optimization.fusing.kernels import Chain, chain_kernel, plain_layer
from normadvisor.optimization.fusing.layouts import Layout
from normadvisor.optimization.fusing.places import behind, silent
from normadvisor.rewrite.model.change import demand_initialized, demand_plain
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.model.slots import Slots

__all__ = ["Swap", "candidate", "fused_class", "hooked", "swaps"]

_KINDS = ("group_norm", "batch_norm")
_FUSED: dict[type[nn.Module], type[Any]] = {
    nn.GroupNorm: FusedGroupNormAct,
    nn.BatchNorm1d: FusedBatchNormAct1d,
    nn.BatchNorm2d: FusedBatchNormAct2d,
    nn.BatchNorm3d: FusedBatchNormAct3d,
}


@dataclass(frozen=True, slots=True)
class Swap:
    """A norm and the activation behind it."""

    kind: str
    """``group_norm`` or ``batch_norm``."""
    norm: str
    activation: Activation
    layer: str
    """What becomes ``Identity``; empty where the norm itself holds its activation."""


def swaps(model: nn.Module, graph: ModelGraph) -> Iterator[Swap | Refused]:
    """All of a model. What has to be done in a ``forward`` is none, and is left out without a word."""
    for node in graph.nodes:
        if node.op in _KINDS:
            found = _swap(node, model, graph)
            if found is not None:
                yield found


def fused_class(norm: nn.Module) -> type[Any] | None:
    """The fused class for a norm; ``None`` where there is none, and for what is fused already."""
    if isinstance(norm, tuple(_FUSED.values())):
        return None
    return next((fused for base, fused in _FUSED.items() if isinstance(norm, base)), None)


def _swap(node: NodeInfo, model: nn.Module, graph: ModelGraph) -> Swap | Refused | None:
    norm = model.get_submodule(node.module)
    owned = [other for other in _inside(node.module, graph) if other.op not in {"param", "constant"}]
    if fused_class(norm) is None or not node.module or sum(other.op == node.op for other in owned) != 1:
        return None
    last = _last_inside(node, owned, graph)
    if last is None:
        return None
    known = activation(last.op, last.attrs)
    if last is not node and known is not None:
        return _decided(Swap(node.op, node.module, known, ""), model)
    if not silent(last, graph) and last is not node:
        return None
    act = behind(last, graph)
    if act is None or len(act.inputs) != 1:
        return None
    known = activation(act.op, act.attrs)
    alone = [other.index for other in _inside(act.module, graph)] == [act.index] and act.module not in {"", node.module}
    if known is None or not alone or not _is_layer(act, model):
        return None
    return _decided(Swap(node.op, node.module, known, act.module), model)


def _is_layer(act: NodeInfo, model: nn.Module) -> bool:
    """Whether the module of an activation is there for the activation: what holds other layers may do more when it runs otherwise."""
    return bool(act.cls) or not any(True for _ in model.get_submodule(act.module).children())


def _inside(name: str, graph: ModelGraph) -> list[NodeInfo]:
    return [node for node in graph.nodes if node.module == name or node.module.startswith(f"{name}.")]


def _last_inside(norm: NodeInfo, owned: list[NodeInfo], graph: ModelGraph) -> NodeInfo | None:
    """The last operation of the layer that the norm is: the norm, or what it runs on it; ``None`` if it is no chain of known ones."""
    inside = {node.index for node in owned}
    last, left = norm, inside - {norm.index}
    while left:
        users = set(last.users)
        if len(users) != 1 or not users <= left:
            return None
        last = graph.nodes[users.pop()]
        left.discard(last.index)
        if left and not silent(last, graph):
            return None
    return last


def _decided(swap: Swap, model: nn.Module) -> Swap | Refused:
    names = (swap.norm, swap.layer) if swap.layer else (swap.norm,)
    for name in names:
        if any(hooked(layer) for layer in model.get_submodule(name).modules()):
            return Refused(rule="NA702", modules=names, reason="hooks run around one of the layers, and would see other values")
    try:
        demand_plain(swap.norm, model.get_submodule(swap.norm))
        demand_initialized(swap.norm, model.get_submodule(swap.norm))
    except CannotChange as refused:
        return Refused(rule="NA702", modules=names, reason=refused.reason.removeprefix(f"{swap.norm} "))
    return swap


def candidate(swap: Swap, model: nn.Module, setting: Setting, layouts: Mapping[str, Layout]) -> Candidate:
    """The candidate for a swap.

    Args:
        swap: what is fused.
        model: as it is.
        setting: where it runs.
        layouts: of what the norms get.

    """
    layout = layouts.get(swap.norm)
    norm = model.get_submodule(swap.norm)
    chain = Chain(norm, swap.activation, layout, inplace=_in_place(swap, model)) if layout is not None else None
    groups = f" {norm.num_groups} groups" if isinstance(norm, nn.GroupNorm) else f" {'train' if norm.training else 'eval'}"
    return Candidate(
        rule="NA702",
        pattern=f"{swap.kind} + {swap.activation.name}",
        replacement=f"fused {swap.kind}_act",
        modules=(swap.norm, swap.layer) if swap.layer else (swap.norm,),
        shape_key=f"{layout.key if layout is not None else 'unknown'}{groups} {swap.activation.key}",
        apply=partial(_apply, swap),
        kernel=partial(chain_kernel, chain, setting) if chain is not None else None,
    )


def _in_place(swap: Swap, model: nn.Module) -> bool:
    layers = model.get_submodule(swap.layer or swap.norm).modules()
    return any(getattr(layer, "inplace", False) is True for layer in layers)


def _apply(swap: Swap, model: nn.Module, journal: Journal) -> tuple[StateStep, ...]:
    try:
        norm = model.get_submodule(swap.norm)
        layer = model.get_submodule(swap.layer) if swap.layer else None
    except AttributeError as error:
        raise CannotChange(f"{swap.norm}: {error}") from error
    cls = fused_class(norm)
    if cls is None:
        raise CannotChange(f"{swap.norm} is a {type(norm).__name__} now, which has no fused counterpart")
    try:
        # What a derived class does beside normalizing is in the activation: the graph has shown that there is nothing else.
        fused = cls.from_module(plain_layer(norm), act=swap.activation.name, negative_slope=swap.activation.slope)
    except (TypeError, ValueError) as error:
        raise CannotChange(f"{swap.norm}: {error}") from error
    pairs = [(norm, fused.train(norm.training))]
    if layer is not None:
        pairs.append((layer, nn.Identity().train(layer.training)))
    Slots(model).replace(pairs, journal)
    return ()
