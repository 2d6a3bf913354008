"""Applies one rule to one graph: definitions, anchors, and the matches they give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from normadvisor.errors import RuleError
from normadvisor.graph.model import ModelGraph, ModuleInfo, NodeInfo
from normadvisor.match.chains import Runs
from normadvisor.match.compiled import CompiledModulePattern, CompiledPattern, CompiledRule
from normadvisor.match.search import VIA, Bindings, Search
from normadvisor.match.views import ChainView, ContextView, ModelView, Views
from normadvisor.types import GROUPS, RunContext

__all__ = ["GraphIndex", "Match", "Matcher"]


@dataclass(frozen=True, slots=True)
class Match:
    """One place where a pattern holds, with every name of the rule: bound, or ``None``."""

    anchor: NodeInfo | ModuleInfo
    scope: Mapping[str, Any]


class GraphIndex:
    """What all rules share about a graph: its nodes and modules by operation, counts, views and the base of every scope."""

    def __init__(self, graph: ModelGraph, context: RunContext) -> None:
        self.graph = graph
        self.views = Views(graph, context)
        self.search = Search(graph, self.views)
        self.counts = Counter(node.op for node in graph.nodes)
        self._nodes: dict[str, list[int]] = {}
        for node in graph.nodes:
            self._nodes.setdefault(node.op, []).append(node.index)
        self._modules: dict[str, list[str]] = {}
        for name, module in graph.modules.items():
            if module.op is not None:
                self._modules.setdefault(module.op, []).append(name)
        self._order = {name: position for position, name in enumerate(graph.modules)}
        self.context = ContextView(context)
        self.run_visits = 0
        """Nodes visited for chains so far."""

    @property
    def visits(self) -> int:
        """Nodes visited by all searches so far."""
        return self.search.visits + self.run_visits

    def nodes(self, ops: Iterable[str]) -> list[NodeInfo]:
        """Nodes of some operations, in graph order."""
        indices = sorted(index for op in ops for index in self._nodes.get(op, ()))
        return [self.graph.nodes[index] for index in indices]

    def modules(self, ops: Iterable[str]) -> list[ModuleInfo]:
        """Modules that are some operations, in the model's order."""
        names = sorted((name for op in ops for name in self._modules.get(op, ())), key=self._order.__getitem__)
        return [self.graph.modules[name] for name in names]


class _Counts(Mapping[str, int]):
    """What ``count`` reads: nodes of operations and groups, matches of the rule's own patterns, counted when asked for."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher

    def __getitem__(self, name: str) -> int:
        return self._matcher.count(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __iter__(self) -> Iterator[str]:
        return iter(self._matcher.countable)

    def __len__(self) -> int:
        return len(self._matcher.countable)


class Matcher:
    """One rule on one graph."""

    def __init__(self, index: GraphIndex, rule: CompiledRule) -> None:
        self._index = index
        self._rule = rule
        self._pattern_counts: dict[str, int] = {}
        self._counting: list[str] = []
        model = ModelView(index.graph, _Counts(self))
        self._base: dict[str, Any] = {**dict.fromkeys(rule.names), "context": index.context, "model": model}

    def matches(self) -> list[Match]:
        """Every place where the rule's pattern holds, in graph order; none when its ``when`` does not hold.

        Raises:
            RuleError: an expression of the rule failed.

        """
        rule = self._rule
        for name, value in rule.values.items():
            self._base[name] = value(self._base)
        if rule.when is not None and not rule.when(self._base):
            return []
        if isinstance(rule.pattern, CompiledModulePattern):
            return list(self._module_matches(rule.pattern))
        return list(self._node_matches(rule.pattern))

    @property
    def countable(self) -> tuple[str, ...]:
        """Operations that occur, and the rule's own groups and patterns."""
        return (*self._index.counts, *self._rule.groups, *self._rule.patterns)

    def count(self, name: str) -> int:
        """How many nodes are of an operation or group, or how many matches a pattern of the rule has.

        Raises:
            RuleError: a pattern counts itself.

        """
        rule = self._rule
        if name in rule.patterns:
            return self._count_pattern(name)
        if name in rule.groups:
            return sum(self._index.counts[op] for op in rule.groups[name])
        return sum(self._index.counts[op] for op in GROUPS.get(name, (name,)))

    def _count_pattern(self, name: str) -> int:
        if name in self._counting:
            message = f"{self._rule.rule.id}: pattern `{name}` counts itself"
            raise RuleError(message)
        if name not in self._pattern_counts:
            self._counting.append(name)
            self._pattern_counts[name] = sum(1 for _ in self._node_matches(self._rule.patterns[name]))
            self._counting.pop()
        return self._pattern_counts[name]

    def _module_matches(self, pattern: CompiledModulePattern) -> Iterator[Match]:
        for module in self._index.modules(pattern.ops):
            scope = {**self._base, pattern.node: self._index.views.module(module.name)}
            if pattern.where is None or pattern.where(scope):
                yield Match(module, scope)

    def _node_matches(self, pattern: CompiledPattern) -> Iterator[Match]:
        nodes = self._index.nodes(pattern.ops)
        if not nodes:
            return
        runs = self._runs(pattern)
        anchors: Iterable[NodeInfo] = nodes
        if pattern.chain is not None and runs is not None:
            shortest = pattern.chain.shortest
            ends = runs.maximal(node.index for node in nodes if runs.length(node.index) >= shortest)
            anchors = (self._index.graph.nodes[index] for index in ends)
        for node in anchors:
            scope: Bindings = {**self._base, pattern.node: self._index.views.node(node.index)}
            if pattern.chain is not None and runs is not None:
                scope[pattern.chain.node] = ChainView([self._index.views.node(index) for index in runs.members(node.index)])
            if self._holds(pattern, node, scope):
                yield Match(node, scope)

    def _holds(self, pattern: CompiledPattern, node: NodeInfo, scope: Bindings) -> bool:
        """Whether everything but the operation and the chain holds; what is bound on the way is put into ``scope``."""
        search = self._index.search
        if pattern.where is not None and not pattern.where(scope):
            return False
        bound = search.relations(pattern.relations, node, scope)
        if bound is None:
            return False
        scope.update(bound)
        if pattern.any_of:
            bound = search.any_clause(pattern.any_of, node, scope)
            if bound is None:
                return False
            scope.update(bound)
        return not pattern.without or search.any_clause(pattern.without, node, scope) is None

    def _runs(self, pattern: CompiledPattern) -> Runs | None:
        chain = pattern.chain
        if chain is None:
            return None
        runs = Runs(self._index.graph.nodes, lambda node: node.op in chain.ops, self._breaks(pattern))
        self._index.run_visits += runs.visits
        return runs

    def _breaks(self, pattern: CompiledPattern) -> Callable[[NodeInfo], bool]:
        chain = pattern.chain
        if chain is None or chain.broken_where is None:
            broken_by = frozenset[str]() if chain is None else chain.broken_by
            return lambda node: node.op in broken_by
        broken_by, where = chain.broken_by, chain.broken_where
        views, base = self._index.views, self._base
        return lambda node: node.op in broken_by or bool(where({**base, VIA: views.node(node.index)}))
