"""What of a model can be folded, by stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from normadvisor.optimization.candidate import Candidate, Refused, Setting
from normadvisor.optimization.folding.baking import Unbakable, bake_candidate, bakes
from normadvisor.optimization.folding.branches import Sum, Unmergeable, parallel, sums
from normadvisor.optimization.folding.choice import in_its_place
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.fold import RULE, candidate
from normadvisor.optimization.folding.idle import idle
from normadvisor.optimization.folding.merge import merge_candidate
from normadvisor.optimization.folding.search import Unfoldable, search
from normadvisor.optimization.folding.sound import magnified, unsound
from normadvisor.optimization.folding.unrun import Point
from normadvisor.optimization.forward import local_graphs

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.graph.model import ModelGraph

__all__ = ["FINDERS", "find_computed", "find_folds", "find_idle", "find_merges"]


def find_folds(model: nn.Module, graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
    """Norms in eval mode and constant factors that a convolution or linear layer beside them can take up."""
    if setting.mode != "inference":
        return
    flow = Flow(model, graph, setting.inputs)
    for found in search(flow):
        if isinstance(found, Unfoldable):
            if found.what == "batch_norm" or found.layers:
                yield Refused(rule=RULE, modules=(found.name, *found.layers), reason=found.reason)
            continue
        reason = unsound(flow, found.affine) or (magnified(flow, found.affine) if found.kind == "ahead" else "")
        if reason:
            yield Refused(rule=RULE, modules=(found.affine.told,), reason=reason)
        else:
            yield candidate(flow, found, setting)


def find_merges(model: nn.Module, graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
    """Parallel convolutions of one input that are added up, with norms of that input and the input itself."""
    if setting.mode != "inference":
        return
    flow = Flow(model, graph, setting.inputs)
    if not parallel(flow):
        return
    for local in local_graphs(model, setting.inputs):
        for found in sums(flow, local):
            if isinstance(found, Unmergeable):
                yield Refused(rule=RULE, modules=found.names, reason=found.reason)
                continue
            reason = _unseen(flow, found)
            if reason:
                yield Refused(rule=RULE, modules=tuple(branch.name for branch in found.branches if branch.name), reason=reason)
            else:
                yield merge_candidate(flow, found, setting)


def _unseen(flow: Flow, found: Sum) -> str:
    """What reads a branch alone in code that did not run."""
    points = [Point(branch.name) for branch in found.branches if branch.name]
    pairs = [(one, other) for one in points for other in points if one is not other]
    return next((told for one, other in pairs if (told := in_its_place(flow, one.name, other.name) or flow.unrun.reader(one, other))), "")


def find_computed(model: nn.Module, graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
    """Layers that compute their weight anew at each call."""
    if setting.mode != "inference":
        return
    flow = Flow(model, graph)
    for found in bakes(flow):
        yield (
            Refused(rule=RULE, modules=(found.name,), reason=found.reason)
            if isinstance(found, Unbakable)
            else bake_candidate(flow, found, setting)
        )


def find_idle(model: nn.Module, graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
    """Dropout layers, which hand on what they are given in eval mode."""
    if setting.mode == "inference":
        yield from idle(Flow(model, graph), setting)


FINDERS = (("cleanup", find_computed), ("cleanup", find_idle), ("fold", find_folds), ("merge", find_merges))
