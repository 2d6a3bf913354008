"""The search along the data flow: which nodes a relation reaches, and what it binds."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normadvisor.graph.model import ModelGraph, NodeInfo
from normadvisor.match.compiled import CompiledClause, CompiledRelation
from normadvisor.match.views import NodeView, Views

__all__ = ["Bindings", "Search"]

Bindings = dict[str, Any]
"""Names bound by a part of a pattern."""
VIA = "via"


@dataclass(slots=True)
class _Walk:
    """What one walk found."""

    hits: list[NodeView]
    bindings: Bindings
    """What the first hit binds."""
    failed: bool = False
    """Whether some path ended without a hit."""


class Search:
    """Searches one graph. A walk visits every node at most once, and no more than the relation's ``within``."""

    def __init__(self, graph: ModelGraph, views: Views) -> None:
        self._nodes = graph.nodes
        self._views = views
        self.visits = 0
        """Nodes visited by all walks so far."""

    def relations(self, relations: Sequence[CompiledRelation], node: NodeInfo, scope: Mapping[str, Any]) -> Bindings | None:
        """What the relations bind together, each seeing the names of those before it; ``None`` when one does not hold."""
        bound: Bindings = {}
        for relation in relations:
            found = self._relation(relation, node, {**scope, **bound})
            if found is not None:
                bound.update(found)
            elif not relation.optional:
                return None
        return bound

    def clause(self, clause: CompiledClause, node: NodeInfo, scope: Mapping[str, Any]) -> Bindings | None:
        """What a clause binds; ``None`` when it does not hold. Its condition sees the names its relations bind."""
        if not clause.relations:
            return {} if clause.where is None or clause.where(scope) else None
        bound = self.relations(clause.relations, node, scope)
        if bound is None or (clause.where is not None and not clause.where({**scope, **bound})):
            return None
        return bound

    def any_clause(self, clauses: Sequence[CompiledClause], node: NodeInfo, scope: Mapping[str, Any]) -> Bindings | None:
        """What the first clause that holds binds; ``None`` when none does."""
        for clause in clauses:
            bound = self.clause(clause, node, scope)
            if bound is not None:
                return bound
        return None

    def _relation(self, relation: CompiledRelation, start: NodeInfo, scope: Mapping[str, Any]) -> Bindings | None:
        walk = self._walk(relation, start, scope)
        if not walk.hits or (relation.every and walk.failed):
            return None
        return {**walk.bindings, f"{relation.node}_all": walk.hits}

    def _walk(self, relation: CompiledRelation, start: NodeInfo, scope: Mapping[str, Any]) -> _Walk:
        """Breadth first, so that the first hit is the nearest; among equals the earlier input or user."""
        walk = _Walk([], {})
        ahead = start.users if relation.forward else start.inputs
        seen = set(ahead)
        waiting = deque(dict.fromkeys(ahead))
        walk.failed = not waiting
        left = relation.within
        while waiting:
            if not left:
                walk.failed = True  # What lies beyond the horizon is unknown.
                break
            left -= 1
            self.visits += 1
            node = self._nodes[waiting.popleft()]
            bound = self._hit(relation, node, scope)
            if bound is not None:
                if not walk.hits:
                    walk.bindings = bound
                walk.hits.append(bound[relation.node])
                continue
            ahead = (node.users if relation.forward else node.inputs) if self._passes(relation, node, scope) else ()
            if not ahead:
                walk.failed = True
                if relation.every:
                    break
            fresh = [index for index in dict.fromkeys(ahead) if index not in seen]
            seen.update(fresh)
            waiting.extend(fresh)
        return walk

    def _hit(self, relation: CompiledRelation, node: NodeInfo, scope: Mapping[str, Any]) -> Bindings | None:
        if node.op not in relation.ops:
            return None
        bound: Bindings = {relation.node: self._views.node(node.index)}
        if relation.where is not None and not relation.where({**scope, **bound}):
            return None
        inner = self.relations(relation.relations, node, {**scope, **bound})
        if inner is None:
            return None
        bound.update(inner)
        if relation.without and self.any_clause(relation.without, node, {**scope, **bound}) is not None:
            return None
        return bound

    def _passes(self, relation: CompiledRelation, node: NodeInfo, scope: Mapping[str, Any]) -> bool:
        if node.op not in relation.through or node.op in relation.until:
            return False
        return relation.through_where is None or bool(relation.through_where({**scope, VIA: self._views.node(node.index)}))
