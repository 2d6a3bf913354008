"""Finds what can be fused in a model: norms with activations and sums (NA702), sums with norms, and gates (NA703)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torch import nn

from normadvisor.optimization.candidate import Candidate, Refused, Setting
from normadvisor.optimization.forward import Untraced, local_graphs
from normadvisor.optimization.fusing import gates, joins, sums, swaps
from normadvisor.optimization.fusing.forwards import Forwards
from normadvisor.optimization.fusing.layouts import recorded
from normadvisor.optimization.fusing.places import Place, places
from normadvisor.optimization.fusing.worth import pointless

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph

__all__ = ["FINDERS", "find_fused"]


def find_fused(model: nn.Module, graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
    """All places of both rules; what cannot gain anything on the device is one refusal a rule."""
    reason = pointless(setting)
    if reason:
        yield from _left(graph, reason)
        return
    untraced: list[Untraced] = []
    forwards = Forwards(local_graphs(model, setting.inputs, untraced))
    found = [*_norms(model, graph, setting, forwards), *_rows(model, graph, setting, forwards)]
    yield from found
    yield from _out_of_reach(model, graph, found, untraced)


def _norms(model: nn.Module, graph: ModelGraph, setting: Setting, forwards: Forwards) -> Iterator[Candidate | Refused]:
    swapped = list(swaps.swaps(model, graph))
    chosen = [item for item in swapped if isinstance(item, swaps.Swap)]
    layouts = recorded(model, {swap.norm for swap in chosen}, setting)
    for item in swapped:
        yield item if isinstance(item, Refused) else swaps.candidate(item, model, setting, layouts)
    taken = {item.modules[0] if isinstance(item, Refused) else item.norm for item in swapped}
    for join in joins.joins(forwards, taken):
        yield join if isinstance(join, Refused) else joins.candidate(join, setting)


def _rows(model: nn.Module, graph: ModelGraph, setting: Setting, forwards: Forwards) -> Iterator[Candidate | Refused]:
    seen = {id(model.get_submodule(node.module)): node for node in graph.nodes if node.cls and node.op in {"layer_norm", "rms_norm"}}
    for found in sums.sums(forwards, seen):
        yield found if isinstance(found, Refused) else sums.candidate(found, setting)
    for gate in gates.gates(forwards):
        yield gate if isinstance(gate, Refused) else gates.candidate(gate, setting)


def _out_of_reach(
    model: nn.Module, graph: ModelGraph, found: Sequence[Candidate | Refused], untraced: Sequence[Untraced]
) -> Iterator[Refused]:
    """Places that the graph of the model shows, and that nothing was found for."""
    told = {(item.rule, item.modules[0]) for item in found}
    why = {each.name: each.reason for each in untraced}
    for place in places(graph):
        if (place.rule, place.modules[0]) in told:
            continue
        around = (name for module in place.modules for name in _around(module))
        reason = next((f"the forward of {name or 'the model'} is out of reach: {why[name]}" for name in around if name in why), "")
        yield Refused(rule=place.rule, modules=place.modules, reason=reason or _why_not(model, place))


def _around(name: str) -> Iterator[str]:
    """A module and the one around it: one of the two runs the operations."""
    yield name
    yield name.rpartition(".")[0]


def _why_not(model: nn.Module, place: Place) -> str:
    leading = model.get_submodule(place.modules[0])
    if isinstance(leading, nn.SyncBatchNorm):
        return "SyncBatchNorm exchanges statistics between processes, which no fused operation does"
    if place.rule == "NA702" and swaps.fused_class(leading) is None:
        return f"{type(leading).__name__} is no norm of torch.nn, and it is not known where it keeps what it needs"
    if place.scattered:
        return "its operations are called in the forwards of different modules"
    return "a value between its operations is read elsewhere, or meets one of another shape or dtype"


def _left(graph: ModelGraph, reason: str) -> Iterator[Refused]:
    for rule, module in dict.fromkeys((place.rule, place.modules[0]) for place in places(graph)):
        yield Refused(rule=rule, modules=(module,), reason=reason)


FINDERS = (("fuse", find_fused),)
