"""Rules made ready to run: groups expanded to sets of operations, conditions and templates parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from normadvisor.errors import RuleError
from normadvisor.match.compiled_fix import CompiledFix, compile_fixes
from normadvisor.match.conditions import CompiledAdjustment, Condition, Text, compile_adjustments, place_of
from normadvisor.rulebook.model import Chain, Clause, ModulePattern, Pattern, ProbePattern, Relation, Rule
from normadvisor.types import OPS, expand

__all__ = [
    "CompiledChain", "CompiledClause", "CompiledModulePattern", "CompiledPattern", "CompiledRelation", "CompiledRule", "compile_rule",
]  # fmt: skip

ANY = "any"
"""Stands for every operation."""


@dataclass(frozen=True, slots=True)
class CompiledRelation:
    """A :class:`~normadvisor.rulebook.model.Relation`, ready to run."""

    node: str
    ops: frozenset[str]
    where: Condition | None
    through: frozenset[str]
    through_where: Condition | None
    until: frozenset[str]
    every: bool
    within: int
    optional: bool
    forward: bool
    relations: tuple[CompiledRelation, ...]
    without: tuple[CompiledClause, ...]


@dataclass(frozen=True, slots=True)
class CompiledClause:
    """A :class:`~normadvisor.rulebook.model.Clause`, ready to run."""

    where: Condition | None
    relations: tuple[CompiledRelation, ...]


@dataclass(frozen=True, slots=True)
class CompiledChain:
    """A :class:`~normadvisor.rulebook.model.Chain`, ready to run."""

    node: str
    ops: frozenset[str]
    broken_by: frozenset[str]
    broken_where: Condition | None
    shortest: int


@dataclass(frozen=True, slots=True)
class CompiledPattern:
    """A :class:`~normadvisor.rulebook.model.Pattern`, ready to run."""

    node: str
    ops: frozenset[str]
    where: Condition | None
    chain: CompiledChain | None
    relations: tuple[CompiledRelation, ...]
    any_of: tuple[CompiledClause, ...]
    without: tuple[CompiledClause, ...]


@dataclass(frozen=True, slots=True)
class CompiledModulePattern:
    """A :class:`~normadvisor.rulebook.model.ModulePattern`, ready to run."""

    node: str
    ops: frozenset[str]
    where: Condition | None


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A :class:`~normadvisor.rulebook.model.Rule`, ready to run."""

    rule: Rule
    names: tuple[str, ...]
    """Names the pattern may bind; ``None`` until it does."""
    groups: Mapping[str, frozenset[str]]
    """Local groups, expanded."""
    values: Mapping[str, Condition]
    patterns: Mapping[str, CompiledPattern]
    pattern: CompiledPattern | CompiledModulePattern
    when: Condition | None
    adjust: tuple[CompiledAdjustment, ...]
    message: Text
    evidence: Mapping[str, Condition]
    fixes: tuple[CompiledFix, ...]
    """The default one first."""


class _Compiler:
    """Compiles one rule. Which name may stand where was checked when the rule was loaded."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.groups = {name: self._local(name, ()) for name in rule.define.ops}
        bound = set(_bound(rule.pattern)).union(*(_bound(pattern) for pattern in rule.define.patterns.values()))
        self.names = tuple(sorted(bound | {f"{name}_all" for name in bound}))

    def _local(self, name: str, path: tuple[str, ...]) -> frozenset[str]:
        if name in path:
            message = f"{self.rule.id}: group `{name}` is defined by itself"
            raise RuleError(message, location=place_of(self.rule.source, name))
        members = self.rule.define.ops[name]
        return frozenset[str]().union(*(self._one(member, (*path, name)) for member in members))

    def _one(self, name: str, path: tuple[str, ...] = ()) -> frozenset[str]:
        if name == ANY:
            return OPS
        if name in self.rule.define.ops and name not in path[-1:]:
            return self._local(name, path)
        try:
            return expand((name,))
        except KeyError:
            message = f"{self.rule.id}: `{name}` is neither an operation nor a group"
            raise RuleError(message, location=place_of(self.rule.source, name)) from None

    def ops(self, names: str | Sequence[str]) -> frozenset[str]:
        """Expand operations and groups, local ones included."""
        return frozenset[str]().union(*(self._one(name) for name in ([names] if isinstance(names, str) else names)))

    def condition(self, what: str, text: str | None) -> Condition | None:
        """Parse a condition, if there is one."""
        return None if text is None else Condition(self.rule, what, text)

    def required(self, what: str, text: str) -> Condition:
        """Parse a condition that must be there."""
        return Condition(self.rule, what, text)

    def text(self, what: str, text: str) -> Text:
        """Parse a template."""
        return Text(self.rule, what, text)

    def relations(self, holder: Relation | Clause | Pattern) -> tuple[CompiledRelation, ...]:
        """Compile what must come later and what must come earlier, in this order."""
        return (
            *(self._relation(relation, forward=True) for relation in holder.precedes),
            *(self._relation(relation, forward=False) for relation in holder.follows),
        )

    def _relation(self, relation: Relation, *, forward: bool) -> CompiledRelation:
        return CompiledRelation(
            node=relation.node,
            ops=self.ops(relation.op),
            where=self.condition(f"where of `{relation.node}`", relation.where),
            through=self.ops(relation.through),
            through_where=self.condition(f"through_where of `{relation.node}`", relation.through_where),
            until=self.ops(relation.until),
            every=relation.paths == "every",
            within=relation.within,
            optional=relation.optional,
            forward=forward,
            relations=self.relations(relation),
            without=self.clauses(relation.without),
        )

    def clauses(self, clauses: Sequence[Clause]) -> tuple[CompiledClause, ...]:
        """Compile alternatives or negations."""
        return tuple(CompiledClause(self.condition("where of a clause", clause.where), self.relations(clause)) for clause in clauses)

    def _chain(self, chain: Chain | None) -> CompiledChain | None:
        if chain is None:
            return None
        broken_where = self.condition(f"broken_where of `{chain.node}`", chain.broken_where)
        return CompiledChain(chain.node, self.ops(chain.op), self.ops(chain.broken_by), broken_where, chain.min)

    def pattern(self, pattern: Pattern) -> CompiledPattern:
        """Compile a pattern over nodes."""
        return CompiledPattern(
            node=pattern.node,
            ops=self.ops(pattern.op),
            where=self.condition(f"where of `{pattern.node}`", pattern.where),
            chain=self._chain(pattern.chain),
            relations=self.relations(pattern),
            any_of=self.clauses(pattern.any_of),
            without=self.clauses(pattern.without),
        )

    def main_pattern(self) -> CompiledPattern | CompiledModulePattern:
        """Compile the pattern of the rule itself."""
        pattern = self.rule.pattern
        if isinstance(pattern, ProbePattern):
            # Such a rule never gets here: it is of scope `probe`.
            raise RuleError(f"{self.rule.id}: a measured layer is no part of a graph", location=place_of(self.rule.source, pattern.where))
        if isinstance(pattern, ModulePattern):
            where = self.condition(f"where of `{pattern.module}`", pattern.where)
            return CompiledModulePattern(pattern.module, self.ops(pattern.op), where)
        return self.pattern(pattern)


def _bound(pattern: Pattern | ModulePattern | ProbePattern | Relation | Clause) -> list[str]:
    """Names that a pattern can bind."""
    if isinstance(pattern, ProbePattern):
        return []
    if isinstance(pattern, ModulePattern):
        return [pattern.module]
    names = [] if isinstance(pattern, Clause) else [pattern.node]
    if isinstance(pattern, Pattern):
        names += [pattern.chain.node] if pattern.chain else []
        names += [name for clause in pattern.any_of for name in _bound(clause)]
    if not isinstance(pattern, Clause):
        names += [name for clause in pattern.without for name in _bound(clause)]
    return names + [name for relation in (*pattern.precedes, *pattern.follows) for name in _bound(relation)]


def compile_rule(rule: Rule) -> CompiledRule:
    """Make a rule ready to run.

    Raises:
        RuleError: an operation is unknown, or an expression does not parse.

    """
    compiler = _Compiler(rule)
    return CompiledRule(
        rule=rule,
        names=compiler.names,
        groups=compiler.groups,
        values={name: compiler.required(f"value `{name}`", text) for name, text in rule.define.values.items()},
        patterns={name: compiler.pattern(pattern) for name, pattern in rule.define.patterns.items()},
        pattern=compiler.main_pattern(),
        when=compiler.condition("when", rule.when),
        adjust=compile_adjustments(rule, rule.adjust),
        message=compiler.text("message", rule.message),
        evidence={name: compiler.required(f"evidence `{name}`", text) for name, text in rule.evidence.items()},
        fixes=compile_fixes(rule, rule.fix, rule.alternatives),
    )
