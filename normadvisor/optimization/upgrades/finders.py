"""Finds norms (NA704), activations and attention (NA705) that are written out, and puts torch's functions in their place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from normadvisor.graph.canonical import function_op
from normadvisor.graph.record import note_of
from normadvisor.graph.written import Written, written_in
from normadvisor.optimization.candidate import Candidate, Refused, Setting, StateStep
from normadvisor.optimization.forward import LocalGraph, Untraced, find, install, local_graphs, replace
from normadvisor.optimization.upgrades.alone import kernel_of, shapes_of
from normadvisor.optimization.upgrades.causal import with_causal_flag
from normadvisor.optimization.upgrades.putting import put, told
from normadvisor.optimization.upgrades.soundness import demands, why_not
from normadvisor.types import GROUPS

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph
    from normadvisor.rewrite.model.journal import Journal

__all__ = ["FINDERS", "find_upgrades"]

_NORMS = frozenset({"layer_norm", "rms_norm"})
_ACTIVATIONS = frozenset(GROUPS["activation"])


def find_upgrades(model: nn.Module, graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
    """All places, in the order of the modules whose forward they stand in.

    Places of one function in one forward are one candidate. What is written out in a forward that cannot be followed by itself is refused
    with the reason, and so are norms of the graph that were recognised by what they compute, and that nothing was found in.
    """
    untraced: list[Untraced] = []
    told_of: set[str] = set()
    for local in local_graphs(model, setting.inputs, untraced):
        groups: dict[tuple[str, str], list[Written]] = defaultdict(list)
        for written in written_in(local.graph, local.module):
            reason = _unchangeable(local.module) or why_not(local, written)
            if reason:
                yield Refused(rule=_rule(written), modules=(local.name,), reason=reason)
            else:
                groups[written.op, told(written)].append(with_causal_flag(local, written))
            told_of.add(local.name)
        if any(_calls_norm(node) for node in local.graph.nodes):
            told_of.add(local.name)  # it calls the function already, whatever else it does
        for places in groups.values():
            yield _candidate(local, places, setting)
    yield from _left(model, graph, untraced, told_of)
    yield from _out_of_reach(model, graph, untraced)


FINDERS = (("upgrade", find_upgrades),)


def _rule(written: Written) -> str:
    return "NA704" if written.op in _NORMS else "NA705"


def _candidate(local: LocalGraph, places: list[Written], setting: Setting) -> Candidate:
    written = places[0]
    return Candidate(
        rule=_rule(written),
        pattern=f"{written.op} written out",
        replacement=told(written),
        modules=(local.name,),
        places=len(places),
        shape_key=" | ".join([setting.mode, *(shapes_of(place) for place in places)]),
        apply=partial(_apply, local=local, places=places),
        kernel=partial(kernel_of, local, places, setting.device),
    )


def _apply(model: nn.Module, journal: Journal, *, local: LocalGraph, places: list[Written]) -> tuple[StateStep, ...]:
    """Put the functions into the forward; parameters and keys stay as they are."""

    def edit(graph: fx.Graph, _: nn.Module) -> None:
        for written in places:
            root = find(graph, written.root.name)
            inputs = {name: find(graph, node.name) for name, node in written.inputs.items()}
            with graph.inserting_before(root):
                new = put(graph, written, inputs)
            names = {node.name for node in written.nodes}
            replace(graph, root, new, [node for node in graph.nodes if node.name in names])

    wanted = [demand for written in places for demand in demands(local, written)]
    install(model, local.name, edit, local, journal, demands=wanted, watched=True)
    return ()


def _unchangeable(module: nn.Module) -> str:
    if module._compiled_call_impl is not None:  # noqa: SLF001 -- nn.Module has no public word for it
        return "it is compiled; change the model before it is compiled"
    return ""


def _calls_norm(node: fx.Node) -> bool:
    return node.op == "call_function" and function_op(node.target)[0] in _NORMS


def _left(model: nn.Module, graph: ModelGraph, untraced: list[Untraced], told_of: set[str]) -> Iterator[Refused]:
    """Norms that are recognised by what they compute, and that nothing was found in."""
    why = {each.name: each.reason for each in untraced}
    for name in dict.fromkeys(node.module for node in graph.nodes if node.op in _NORMS and node.attrs.get("handwritten")):
        if name in told_of or isinstance(model.get_submodule(name), torch.jit.ScriptModule):
            continue
        reason = why.get(name, "it computes more, or something else, than torch's function with its arguments")
        yield Refused(rule="NA704", modules=(name,), reason=reason)


def _out_of_reach(model: nn.Module, graph: ModelGraph, untraced: list[Untraced]) -> Iterator[Refused]:
    """What the trace of the whole model shows written out in a forward that cannot be followed by itself; whole layers, too."""
    if not untraced or graph.fx_graph is None:
        return
    owners = {node.name: node.module for node in graph.nodes}
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for written in written_in(graph.fx_graph, model):
        if not written.refused and (owner := owners.get(written.root.name)) is not None:
            found[owner, _rule(written)].append(written.op)
    for recorded in graph.fx_graph.nodes:
        note = note_of(recorded)
        if note.leaf is not None and note.leaf.recognised and note.leaf.op in _ACTIVATIONS:
            found[note.path, "NA705"].append(note.leaf.op)
    for each in untraced:
        for rule in ("NA704", "NA705"):
            if ops := dict.fromkeys(found.get((each.name, rule), ())):
                reason = f"{', '.join(ops)} written out in a forward that cannot be changed: {each.reason}"
                yield Refused(rule=rule, modules=(each.name,), reason=reason)
