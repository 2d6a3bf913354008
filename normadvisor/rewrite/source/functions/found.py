"""What is written out by hand at the places that a fix is about, and who else runs the same code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import fx

from normadvisor.graph.record import note_of
from normadvisor.graph.written import Written, written_by, written_in
from normadvisor.rewrite.source.place import Refused, WriteContext, place_of
from normadvisor.types import Location
from normadvisor.types.operation import Operation, OperationKind

if TYPE_CHECKING:
    from normadvisor.graph.model import NodeInfo

__all__ = ["Place", "location_of", "places_of"]

_known: WeakKeyDictionary[WriteContext, dict[str, Written]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Place:
    """One run of the code that is to be changed."""

    written: Written
    """In the graph of the model, or in that of the layer alone whose ``forward`` it is."""
    owner: str
    """Qualified name of the module whose ``forward`` it is."""
    is_alone: bool
    """Whether the graph is that of the layer alone."""


def places_of(operations: Sequence[Operation], context: WriteContext) -> dict[Location, list[Place]]:
    """Every run of the code of some operations, by the place of the expression that gives the result.

    Raises:
        Refused: nothing is written out there, or the code is run where it computes something else.

    """
    found: dict[Location, list[Place]] = {}
    for operation in operations:
        node = context.node(operation.part)
        place = _layer_place(node, context) if operation.part.is_layer else _inline_place(node, context)
        location = location_of(place.written.root, context)
        if location not in found:
            found[location] = list(_layers_like(node, location, context) if operation.part.is_layer else _nodes_at(location, context))
    context.join(_allies_at(found, context))
    return found


def location_of(node: fx.Node, context: WriteContext) -> Location:
    """The place of the expression that made a node.

    Raises:
        Refused: it is not known, or in a file that is not to be edited.

    """
    site = note_of(node).site
    frame = context.own_frame(site) if site is not None and context.is_own(site.location.path) else None  # not where it is called from
    if frame is None:
        where = f"{site.location.path}, outside the files that may be edited" if site is not None else "a place that nobody knows"
        raise Refused(f"it is computed in {where}")
    return frame.location


def _inline(context: WriteContext) -> dict[str, Written]:
    """Everything written out in the model's graph, by the name of the node that gives the result."""
    if context not in _known:
        graph = context.graph.fx_graph
        found = written_in(graph, context.model) if graph is not None else []
        _known[context] = {item.root.name: item for item in found if not item.refused}
    return _known[context]


def _inline_place(node: NodeInfo, context: WriteContext) -> Place:
    written = _inline(context).get(node.name)
    if written is None:
        raise Refused(f"`{node.name}` is no longer written out")
    return Place(written, node.module, is_alone=False)


def _layer_place(node: NodeInfo, context: WriteContext) -> Place:
    dtype = getattr(torch, node.dtype or "float32", torch.float32)
    found = written_by(context.module(node.module), node.in_shape, dtype) if node.in_shape is not None else None
    if found is None or found.refused:
        raise Refused(f"`{node.module}` computes more than one function of torch")
    return Place(found, node.module, is_alone=True)


def _nodes_at(location: Location, context: WriteContext) -> Iterator[Place]:
    for node in context.called_at(location):
        written = _inline(context).get(node.name)
        if written is None:
            raise Refused(f"{place_of(location)} is also run where it computes something else")
        yield Place(written, node.module, is_alone=False)


def _layers_like(node: NodeInfo, location: Location, context: WriteContext) -> Iterator[Place]:
    """All layers whose ``forward`` is the same code."""
    forward = type(context.module(node.module)).forward
    for other in context.graph.nodes:
        if other.cls and type(context.module(other.module)).forward is forward:
            place = _layer_place(other, context)
            if location_of(place.written.root, context) != location:
                raise Refused(f"`{other.module}` computes its result on another line of the same code")
            yield place


def _allies_at(found: dict[Location, list[Place]], context: WriteContext) -> Iterator[Operation]:
    """Operations of other findings that the same edits make."""
    owners = {place.owner for places in found.values() for place in places}
    roots = {place.written.root.name for places in found.values() for place in places}
    for operation in context.allies(OperationKind.USE_FUNCTION):
        if operation.part.module in owners if operation.part.is_layer else operation.part.node in roots:
            yield operation
