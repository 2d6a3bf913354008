"""Norms, or convolutions, and activations that only a ``forward`` brings together: shared layers, functions, and sums between the two."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from normadvisor.optimization.candidate import Candidate, Refused, Setting, StateStep
from normadvisor.optimization.forward import LocalGraph, install
from normadvisor.optimization.fusing.activations import Activation
from normadvisor.optimization.fusing.calls import fused_batch_norm, fused_conv, fused_group_norm
from normadvisor.optimization.fusing.forwards import Forwards, View, alike, is_add
from normadvisor.optimization.fusing.kernels import Chain, chain_kernel
from normadvisor.optimization.fusing.layouts import Layout
from normadvisor.optimization.fusing.openings import Key, Opening, demands, key_of, look_up, open_calls, openings, trial
from normadvisor.optimization.fusing.swaps import fused_class, hooked
from normadvisor.rewrite.model.change import demand_initialized, demand_plain
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["Join", "KindOf", "candidate", "joins", "norm_kind"]

KindOf: TypeAlias = Callable[[View, Forwards, fx.Node], str]
"""Says what kind of layer a node calls, one of those in ``_CALLS``; empty for any other node."""
_CALLS: dict[str, Callable[..., Any]] = {"batch_norm": fused_batch_norm, "conv": fused_conv, "group_norm": fused_group_norm}
_SUMMED = frozenset({"batch_norm", "conv"})
"""Kinds that take in a sum as well."""


@dataclass(frozen=True, slots=True)
class Join:
    """Nodes of one forward that become a single call."""

    view: View
    kind: str
    """``group_norm``, ``batch_norm`` or ``conv``."""
    leading: fx.Node
    """The call of the norm or of the convolution."""
    act: fx.Node
    activation: Activation
    between: tuple[fx.Node, ...] = ()
    """Nodes that go as well: the sum, and what hands on values."""
    residual: fx.Node | None = None
    opened: tuple[Opening, ...] = ()
    """Calls in whose place the nodes of a container stand."""
    unopened: LocalGraph | None = None
    """The forward before that."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Qualified names of the layers."""
        names = [self.view.name(self.leading)]
        if self.act.op == "call_module":
            names.append(self.view.name(self.act))
        return tuple(names)


def joins(forwards: Forwards, taken: Collection[str], kind_of: KindOf | None = None) -> Iterator[Join | Refused]:
    """All of a model.

    Args:
        forwards: what was traced.
        taken: qualified names of layers that are fused in another way.
        kind_of: which layers lead; norms, if nothing is said.

    """
    search = _Search(forwards, kind_of or norm_kind)
    for view in forwards.views():
        for act in view.local.graph.nodes:
            known = view.activation(act)
            found = search.join(view, act, known) or search.opened(view, act, known) if known is not None else None
            if isinstance(found, Join) and view.name(found.leading) not in taken:
                yield _decided(found)


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for."""

    forwards: Forwards
    kind_of: KindOf

    def join(self, view: View, act: fx.Node, known: Activation) -> Join | None:
        """With the layer right before an activation, or before the sum that it gets."""
        behind = _behind(view, act.all_input_nodes[0])
        if behind is None:
            return None
        node, silents = behind
        kind = self.kind_of(view, self.forwards, node)
        if kind:
            return Join(view, kind, node, act, known, silents)
        if not is_add(node) or not alike(*node.args) or node.args[0] is node.args[1]:
            return None
        for operand, other in (node.args, node.args[::-1]):
            found = _behind(view, operand) if isinstance(operand, fx.Node) else None
            kind = self.kind_of(view, self.forwards, found[0]) if found is not None else ""
            if found is not None and isinstance(other, fx.Node) and kind in _SUMMED:
                return Join(view, kind, found[0], act, known, (*silents, node, *found[1]), other)
        return None

    def opened(self, view: View, act: fx.Node, known: Activation) -> Join | None:
        """With the layer that a container ends in."""
        behind = _behind(view, act.all_input_nodes[0])
        if behind is None:
            return None
        added = is_add(behind[0]) and alike(*behind[0].args)
        for source in behind[0].args if added else behind[:1]:
            ahead = _behind(view, source) if isinstance(source, fx.Node) else None
            wanted = tuple(openings(view, self.forwards, ahead[0], partial(self._ends, summed=added))) if ahead else ()
            if wanted:
                within = trial(view, self.forwards, wanted)
                found = self.join(within, look_up(within.local.graph, act.name), known)
                if found is not None:
                    return dataclasses.replace(found, opened=wanted, unopened=view.local)
        return None

    def _ends(self, inner: View, node: fx.Node, *, summed: bool) -> bool:
        kind = self.kind_of(inner, self.forwards, node)
        return kind in _SUMMED if summed else bool(kind)


def _behind(view: View, node: fx.Node) -> tuple[fx.Node, tuple[fx.Node, ...]] | None:
    """What ``node`` hands on and the nodes that do, last one first; ``None`` where a value on the way is read by others."""
    silents: list[fx.Node] = []
    while len(node.users) == 1:
        if not view.silent(node):
            return node, tuple(silents)
        silents.append(node)
        node = node.all_input_nodes[0]
    return None


def norm_kind(view: View, forwards: Forwards, node: fx.Node) -> str:
    """``group_norm`` or ``batch_norm`` for the call of a layer that is one, and has a fused counterpart; else empty."""
    child = view.child(node)
    if child is None or fused_class(child) is None or len(node.args) != 1 or node.kwargs:
        return ""
    kind = "group_norm" if isinstance(child, nn.GroupNorm) else "batch_norm"
    base: Any = next(cls for cls in type(child).__mro__ if cls.__module__.startswith("torch.nn.modules."))
    if type(child).forward is base.forward and "forward" not in vars(child):
        return kind
    call = forwards.only_call(child)
    return kind if call is not None and getattr(call.target, "__name__", "") == kind else ""


def _decided(join: Join) -> Join | Refused:
    view, child = join.view, join.view.child(join.leading)
    act = view.child(join.act)
    assert child is not None  # noqa: S101 -- it is the call of a layer

    def refused(reason: str) -> Refused:
        return Refused(rule="NA702", modules=join.modules, reason=reason)

    if any(hooked(layer) for each in (child, act) if each is not None for layer in each.modules()):
        return refused("hooks run around one of the layers, and would not any more")
    try:
        demand_plain(join.modules[0], child)
        demand_initialized(join.modules[0], child)
    except CannotChange as error:
        return refused(error.reason.removeprefix(f"{join.modules[0]} "))
    own = {join.leading, join.act, *join.between}
    values = [join.leading.all_input_nodes[0], *([join.residual] if join.residual is not None else [])]
    if view.disturbed(join.leading, join.act, values, own):
        return refused("what goes in is written to in between")
    for node in (*join.between, join.act):
        if view.in_place(node) and node.all_input_nodes[0] not in own and view.seen_elsewhere(node.all_input_nodes[0], node):
            return refused("the sum is written over a value that is used elsewhere")
    return join


def candidate(join: Join, setting: Setting) -> Candidate:
    """The candidate for a join."""
    layout = Layout.of_node(join.leading.all_input_nodes[0])
    layer = join.view.child(join.leading)
    assert layer is not None and layout is not None  # noqa: S101, PT018 -- it is the call of a layer, on a tensor
    parts = [join.kind, *(["add"] if join.residual is not None else []), join.activation.name]
    residual = Layout.of_node(join.residual) if join.residual is not None else None
    other = f" + {residual.key}" if residual is not None and residual != layout else ""
    return Candidate(
        rule="NA702",
        pattern=" + ".join(parts),
        replacement=f"fused {join.kind}_act",
        modules=join.modules,
        shape_key=f"{layout.key}{other} {_settings(layer)} {join.activation.key}",
        apply=partial(_apply, join.unopened or join.view.local, _Keys.of(join), join.activation, join.kind),
        kernel=partial(chain_kernel, Chain(layer, join.activation, layout, residual, join.view.in_place(join.act)), setting),
    )


def _settings(layer: nn.Module) -> str:
    """What the time that a layer takes hangs on beside its input."""
    if isinstance(layer, nn.GroupNorm):
        return f"{layer.num_groups} groups"
    if isinstance(layer, _ConvNd):
        sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        kernel, stride, padding, dilation = ("x".join(map(str, size)) for size in sizes)
        weight = Layout.of(layer.weight).key
        return f"{layer.out_channels} by {kernel} stride {stride} padding {padding} dilation {dilation} in {layer.groups} groups, {weight}"
    return "train" if layer.training else "eval"


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keys of nodes, which hold in copies of the graph."""

    leading: Key
    act: Key
    between: tuple[Key, ...]
    residual: Key
    opened: tuple[Opening, ...]

    @classmethod
    def of(cls, join: Join) -> _Keys:
        residual = key_of(join.residual) if join.residual is not None else ""
        return cls(key_of(join.leading), key_of(join.act), tuple(map(key_of, join.between)), residual, join.opened)


def _apply(
    local: LocalGraph, keys: _Keys, activation: Activation, kind: str, model: nn.Module, journal: Journal
) -> tuple[StateStep, ...]:
    def edit(graph: fx.Graph, module: nn.Module) -> None:
        open_calls(graph, module, keys.opened)
        first, last = look_up(graph, keys.leading), look_up(graph, keys.act)
        between = [look_up(graph, key) for key in keys.between]
        residual = look_up(graph, keys.residual) if keys.residual else None
        with graph.inserting_before(last):
            layer = graph.get_attr(str(first.target))
            given = (layer, first.all_input_nodes[0], *((residual,) if kind in _SUMMED else ()), activation.name, activation.slope)
            fused = graph.call_function(_CALLS[kind], given)
        fused.meta = dict(last.meta)
        last.replace_all_uses_with(fused)
        for node in (last, *between, first):
            graph.erase_node(node)

    install(model, local.name, edit, local, journal, demands=demands(keys.opened, local.graph), watched=True)
    return ()
