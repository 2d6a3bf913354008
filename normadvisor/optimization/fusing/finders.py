"""Finds what can be fused in a model: norms with activations and sums (NA702), sums with norms, and gates (NA703)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from torch import nn

from normadvisor.graph.model import ModelGraph
from normadvisor.optimization.candidate import Candidate, Refused, Setting
from normadvisor.optimization.forward import Untraced, local_graphs
from normadvisor.optimization.fusing import joins, swaps
from normadvisor.optimization.fusing.forwards import Forwards
from normadvisor.optimization.fusing.layouts import recorded
from normadvisor.optimization.fusing.places import places
from normadvisor.optimization.fusing.worth import pointless

__all__ = ["FINDERS", "find_fused"]


def find_fused(model: nn.Module, graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
    """All places of both rules; what cannot gain anything on the device is one refusal a rule."""
    reason = pointless(setting)
    if reason:
        yield from _left(graph, reason)
        return
    untraced: list[Untraced] = []
    forwards = Forwards(local_graphs(model, setting.inputs, untraced))
    found = [*_norms(model, graph, setting, forwards)]
    yield from found


def _norms(model: nn.Module, graph: ModelGraph, setting: Setting, forwards: Forwards) -> Iterator[Candidate | Refused]:
    swapped = list(swaps.swaps(model, graph))
    chosen = [item for item in swapped if isinstance(item, swaps.Swap)]
    layouts = recorded(model, {swap.norm for swap in chosen}, setting)
    for item in swapped:
        yield item if isinstance(item, Refused) else swaps.candidate(item, model, setting, layouts)
    taken = {item.modules[0] if isinstance(item, Refused) else item.norm for item in swapped}
    for join in joins.joins(forwards, taken):
        yield join if isinstance(join, Refused) else joins.candidate(join, setting)


def _left(graph: ModelGraph, reason: str) -> Iterator[Refused]:
    by_rule: dict[str, dict[str, None]] = defaultdict(dict)
    for place in places(graph):
        by_rule[place.rule][place.modules[0]] = None
    for rule, modules in by_rule.items():
        yield Refused(rule=rule, modules=tuple(modules), reason=reason)


FINDERS = (("fuse", find_fused),)
