"""Gated units, ``silu(gate) * up`` and ``gelu(gate) * up``, wherever one ``forward`` does both."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from normadvisor.fused.gated.functional import gated, gated_in_torch, gated_packed, packed_in_torch
from normadvisor.graph.canonical import base_name, spelling
from normadvisor.graph.signatures import bind
from normadvisor.optimization.candidate import Candidate, Kernel, Refused, Setting, StateStep
from normadvisor.optimization.forward import LocalGraph, drop_unused, find, install
from normadvisor.optimization.fusing.calls import fused_gate, fused_packed_gate
from normadvisor.optimization.fusing.forwards import Forwards, View, alike
from normadvisor.optimization.fusing.layouts import Layout
from normadvisor.optimization.fusing.places import GATES
from normadvisor.optimization.fusing.swaps import hooked

if TYPE_CHECKING:
    from normadvisor.rewrite.model.journal import Journal

__all__ = ["Gate", "candidate", "gates"]

_PRODUCTS: frozenset[Any] = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})
_HALVES = 2


@dataclass(frozen=True, slots=True)
class Gate:
    """Nodes of one forward that become a single call."""

    view: View
    product: fx.Node
    act: fx.Node
    activation: str
    up: fx.Node
    packed: fx.Node | None = None
    """What both are halves of, along its last axis."""
    gate_last: bool = False

    @property
    def modules(self) -> tuple[str, ...]:
        """The module whose forward it is, and the activation if it is a layer."""
        names = [self.view.local.name]
        if self.act.op == "call_module":
            names.append(self.view.name(self.act))
        return tuple(names)


def gates(forwards: Forwards) -> Iterator[Gate | Refused]:
    """All of a model."""
    for view in forwards.views():
        for product in view.local.graph.nodes:
            found = _gate(view, product)
            if found is not None:
                yield _decided(found)


def _gate(view: View, product: fx.Node) -> Gate | None:
    if product.op not in {"call_function", "call_method"} or product.target not in _PRODUCTS or product.kwargs:
        return None
    if len(product.args) != _HALVES or not alike(*product.args):
        return None
    for act, up in (product.args, product.args[::-1]):
        assert isinstance(act, fx.Node)  # noqa: S101 -- both are tensors
        assert isinstance(up, fx.Node)  # noqa: S101 -- as above
        known = view.activation(act) if len(act.users) == 1 and act is not up else None
        if known is not None and known.name in GATES:
            packed = _packed(act.all_input_nodes[0], up)
            return Gate(view, product, act, known.name, up, *(packed or ()))
    return None


def _packed(gate: fx.Node, up: fx.Node) -> tuple[fx.Node, bool] | None:
    """What the two are halves of, and whether the gate is the second; ``None`` if they are none, or halves of another axis."""
    if gate.target is not operator.getitem or up.target is not operator.getitem or gate.args[0] is not up.args[0]:
        return None
    halves = gate.args[0]
    if not isinstance(halves, fx.Node) or {gate.args[1], up.args[1]} != {0, 1} or halves.op not in {"call_function", "call_method"}:
        return None
    name, written = spelling(halves.target)
    whole = halves.args[0] if halves.args else None
    value = whole.meta.get("value") if isinstance(whole, fx.Node) else None
    if base_name(name)[0] not in {"chunk", "split", "tensor_split"} or not isinstance(value, torch.Tensor):
        return None
    axis = bind(base_name(name)[0], written, halves.args, halves.kwargs).get("dim", 0)
    sizes = [half.meta["value"].shape[-1] for half in (gate, up)]
    if axis not in {-1, value.dim() - 1} or sum(sizes) != value.shape[-1] or sizes[0] != sizes[1]:
        return None
    assert isinstance(whole, fx.Node)  # noqa: S101 -- it has a value
    return whole, bool(gate.args[1])


def _decided(gate: Gate) -> Gate | Refused:
    view, act = gate.view, gate.view.child(gate.act)

    def refused(reason: str) -> Refused:
        return Refused(rule="NA703", modules=gate.modules, reason=reason)

    if act is not None and any(hooked(layer) for layer in act.modules()):
        return refused("hooks run around the activation, and would not any more")
    given, own = gate.act.all_input_nodes[0], {gate.act, gate.product}
    if view.disturbed(gate.act, gate.product, [given], own):
        return refused("the gate is written to in between")
    if gate.packed is not None and view.disturbed(gate.packed, gate.product, [gate.packed], own):
        return refused("what the halves are taken of is written to in between")
    if view.in_place(gate.act) and view.seen_elsewhere(given, gate.act):
        return refused("the activation is written over a value that is used elsewhere")
    first = gate.product.all_input_nodes[0]
    if view.in_place(gate.product) and first is not gate.act and view.seen_elsewhere(first, gate.product):
        return refused("the product is written over a value that is used elsewhere")
    return gate


def candidate(gate: Gate, setting: Setting) -> Candidate:
    """The candidate for a gated unit."""
    halves = [Layout.of_node(node) for node in (gate.act.all_input_nodes[0], gate.up)]
    layouts = tuple(layout for layout in halves if layout is not None)
    whole = Layout.of_node(gate.packed)
    told = whole.key if whole is not None else " + ".join(dict.fromkeys(layout.key for layout in layouts))
    last = ", gate last" if gate.gate_last else ""
    names = (gate.product.name, gate.act.name, gate.up.name, gate.packed.name if gate.packed is not None else "")
    return Candidate(
        rule="NA703",
        pattern=f"{gate.activation} * up",
        replacement=f"fused {GATES[gate.activation]}",
        modules=gate.modules,
        shape_key=f"{told}{' packed' if whole is not None else ''}{last}",
        apply=partial(_apply, gate.view.local, names, (gate.activation, gate.gate_last)),
        kernel=partial(_kernel, gate.activation, (whole,) if whole is not None else layouts, gate.gate_last, setting),
    )


def _apply(
    local: LocalGraph, names: tuple[str, str, str, str], how: tuple[str, bool], model: nn.Module, journal: Journal
) -> tuple[StateStep, ...]:
    activation, gate_last = how

    def edit(graph: fx.Graph, module: nn.Module) -> None:
        del module
        product, act, up = (find(graph, name) for name in names[:3])
        gate = act.all_input_nodes[0]
        with graph.inserting_before(product):
            if names[3]:
                fused = graph.call_function(fused_packed_gate, (find(graph, names[3]), activation, gate_last))
            else:
                fused = graph.call_function(fused_gate, (gate, up, activation))
        fused.meta = dict(product.meta)
        product.replace_all_uses_with(fused)
        for node in (product, act):
            graph.erase_node(node)
        drop_unused(graph, gate, up)

    install(model, local.name, edit, local, journal, watched=True)
    return ()


def _kernel(activation: str, layouts: tuple[Layout, ...], gate_last: bool, setting: Setting) -> Kernel:  # noqa: FBT001 -- by place
    arguments = tuple(layout.draw(setting.device, seed) for seed, layout in enumerate(layouts))
    if len(layouts) == 1:
        last: dict[str, Any] = {"act": activation, "gate_last": gate_last}
        plain, fused = partial(packed_in_torch, **last), partial(gated_packed, **last)
        return Kernel(before=plain, after=fused, arguments=arguments, exact=plain)
    plain, fused = partial(gated_in_torch, act=activation), partial(gated, act=activation)
    return Kernel(before=plain, after=fused, arguments=arguments, exact=plain)
