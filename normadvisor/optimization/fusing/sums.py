"""Sums that a norm of rows reads: ``add + layer_norm``, ``add + rms_norm``, wherever one ``forward`` does both."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from normadvisor.fused.add_norm.registry import implementations
from normadvisor.optimization.candidate import Candidate, Kernel, Refused, Setting, StateStep
from normadvisor.optimization.forward import LocalGraph, find, install
from normadvisor.optimization.fusing.calls import fused_add_norm
from normadvisor.optimization.fusing.choice import fastest
from normadvisor.optimization.fusing.forwards import Forwards, View, is_add
from normadvisor.optimization.fusing.layouts import Layout
from normadvisor.optimization.fusing.row_norms import RowNorm, row_norm
from normadvisor.optimization.fusing.swaps import hooked

if TYPE_CHECKING:
    from normadvisor.fused.common.implementations import Implementation
    from normadvisor.graph.model import NodeInfo
    from normadvisor.rewrite.model.journal import Journal

__all__ = ["Sum", "candidate", "sums"]


@dataclass(frozen=True, slots=True)
class Sum:
    """Two nodes of one forward that become a single call."""

    view: View
    add: fx.Node
    norm: fx.Node
    kind: RowNorm

    @property
    def alone(self) -> bool:
        """Whether nothing but the norm reads the sum."""
        return set(self.add.users) == {self.norm}


def sums(forwards: Forwards, seen: Mapping[int, NodeInfo]) -> Iterator[Sum | Refused]:
    """All of a model.

    Args:
        forwards: what was traced.
        seen: for hand-written norms, see :func:`~normadvisor.optimization.fusing.row_norms.row_norm`.

    """
    for view in forwards.views():
        taken: set[fx.Node] = set()
        for norm in view.local.graph.nodes:
            child = view.child(norm)
            if child is None or len(norm.args) != 1 or norm.kwargs or not isinstance(norm.args[0], fx.Node):
                continue
            add = norm.args[0]
            if add in taken or not is_add(add):
                continue
            kind = row_norm(child, forwards, seen)
            if kind is not None:
                taken.add(add)
                yield _decided(Sum(view, add, norm, kind), child)


def _decided(found: Sum, norm: nn.Module) -> Sum | Refused:
    view, first = found.view, found.add.all_input_nodes[0]

    def refused(reason: str) -> Refused:
        return Refused(rule="NA703", modules=(view.name(found.norm),), reason=reason)

    if hooked(norm):
        return refused("hooks run around the norm, and would not any more")
    if view.disturbed(found.add, found.norm, [found.add], {found.add, found.norm}):
        return refused("the sum is written to before it is normalized")
    if view.in_place(found.add) and view.seen_elsewhere(first, found.add):
        return refused("the sum is written over a value that is used elsewhere")
    return found


def candidate(found: Sum, setting: Setting) -> Candidate:
    """The candidate for a sum and its norm."""
    view, kind = found.view, found.kind
    layouts = tuple(layout for operand in found.add.args if (layout := Layout.of_node(operand)) is not None)
    norm = view.child(found.norm)
    assert norm is not None  # noqa: S101 -- it is the call of a layer
    told = " + ".join(dict.fromkeys(layout.key for layout in layouts))
    work = _Work(norm, kind, layouts, found.alone, setting)
    chosen = work.fastest()
    return Candidate(
        rule="NA703",
        pattern=f"add + {kind.kind}",
        replacement=f"fused add_{kind.kind}",
        modules=(view.name(found.norm),),
        shape_key=f"{told} over {'x'.join(map(str, kind.shape))}{'' if found.alone else ', sum kept'}",
        apply=partial(_apply, view.local, (found.add.name, found.norm.name), kind, chosen.name),
        kernel=partial(work.kernel, chosen),
    )


def _apply(
    local: LocalGraph, names: tuple[str, str], kind: RowNorm, chosen: str, model: nn.Module, journal: Journal
) -> tuple[StateStep, ...]:
    def edit(graph: fx.Graph, module: nn.Module) -> None:
        del module
        total, normed = (find(graph, name) for name in names)
        keeps = set(total.users) != {normed}
        with graph.inserting_before(total):
            held = [graph.get_attr(f"{normed.target}.{name}") if name else None for name in (kind.weight, kind.bias)]
            both = graph.call_function(fused_add_norm, ((f"add_{kind.kind}", chosen), *total.args, kind.shape, *held, kind.eps, keeps))
            parts = [graph.call_function(operator.getitem, (both, index)) for index in (0, 1)]
        for part, old in zip(parts, (normed, total), strict=True):
            part.meta = dict(old.meta)
        normed.replace_all_uses_with(parts[0])
        graph.erase_node(normed)
        total.replace_all_uses_with(parts[1])
        graph.erase_node(total)
        if not parts[1].users:
            graph.erase_node(parts[1])

    install(model, local.name, edit, local, journal, watched=True)
    return ()


@dataclass(frozen=True, slots=True)
class _Work:
    """The operations of one place, to be measured."""

    norm: nn.Module
    kind: RowNorm
    layouts: tuple[Layout, ...]
    alone: bool
    setting: Setting

    def fastest(self) -> Implementation:
        """The implementation that is the fastest here."""

        def refused(one: Implementation) -> str:
            return one.refuses(*self._drawn(), self.kind.shape, *self.kind.held(self.norm), self.kind.eps, not self.alone)

        return fastest(implementations(f"add_{self.kind.kind}"), self.kernel, refused, self.setting)

    def kernel(self, chosen: Implementation) -> Kernel:
        """As they are, and by an implementation."""
        own = copy.deepcopy(self.norm)
        wide = [held.detach().double() if held is not None else None for held in self.kind.held(own)]

        def exact(x: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, ...]:
            total = x + residual
            return (self.kind.plain(total, *wide),) if self.alone else (self.kind.plain(total, *wide), total)

        def before(x: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, ...]:
            total = x + residual
            return (own(total),) if self.alone else (own(total), total)

        def after(x: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found: tuple[torch.Tensor, ...] = chosen.run(x, residual, self.kind.shape, *self.kind.held(own), self.kind.eps, not self.alone)
            return found[:1] if self.alone else found

        return Kernel(before=before, after=after, arguments=self._drawn(), parameters=tuple(own.parameters()), exact=exact)

    def _drawn(self) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = (self.layouts[index % len(self.layouts)].draw(self.setting.device, index) for index in (0, 1))
        return first, second
