"""Script rules made ready to run: conditions and templates, parsed when an event of their kind comes up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Any

from normadvisor.match.compiled_fix import CompiledFix, compile_fixes
from normadvisor.match.conditions import CompiledAdjustment, Condition, OncePerRule, Text, compile_adjustments
from normadvisor.rulebook.model import Clause, Pattern, Rule, ScriptSide
from normadvisor.rulebook.script_values import of_graph
from normadvisor.types import RunContext, Severity

__all__ = ["ScriptRule", "context_values", "script_rules"]

Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScriptRule:
    """The side of a rule that looks at scripts, ready to run."""

    rule: Rule
    side: Rule | ScriptSide
    node: str
    kinds: frozenset[str]
    where: Condition | None
    any_of: tuple[Condition, ...]
    without: tuple[Condition, ...]
    values: Mapping[str, Condition]
    when: Condition | None
    adjust: tuple[CompiledAdjustment, ...]
    message: Text
    evidence: Mapping[str, Condition]
    fixes: tuple[CompiledFix, ...]
    """The default one first."""

    @property
    def severity(self) -> Severity:
        """Severity where no adjustment changes it."""
        return self.side.severity or self.rule.severity

    def ground(self, context: Mapping[str, Any]) -> dict[str, Any] | None:
        """Names that do not depend on the event; ``None`` when the rule is not to run in this context."""
        scope: dict[str, Any] = {"context": context}
        for name, value in self.values.items():
            scope[name] = value(scope)
        return None if self.when is not None and not self.when(scope) else scope

    def matches(self, scope: Scope) -> bool:
        """Whether the pattern holds for the event in the scope."""
        if self.where is not None and not self.where(scope):
            return False
        if self.any_of and not any(clause(scope) for clause in self.any_of):
            return False
        return not any(clause(scope) for clause in self.without)


def context_values(context: RunContext) -> dict[str, Any]:
    """What ``context`` is in expressions."""
    return {**{item.name: getattr(context, item.name) for item in fields_of(RunContext)}, "per_device_batch": context.per_device_batch}


def script_rules(rules: Sequence[Rule], kinds: Iterable[str]) -> list[ScriptRule]:
    """Rules that look at events of some kinds, ready to run; each is prepared once per process.

    Raises:
        RuleError: an expression does not parse.

    """
    wanted = frozenset(kinds)
    found = []
    for rule in rules:
        side = _side(rule)
        if side is None or not isinstance(side.pattern, Pattern) or wanted.isdisjoint(_kinds(side.pattern.op)):
            continue
        ready = _ready(rule)
        if ready is not None:
            found.append(ready)
    return found


def _side(rule: Rule) -> Rule | ScriptSide | None:
    return rule if rule.scope == "script" else rule.script


def _kinds(op: str | list[str]) -> frozenset[str]:
    return frozenset([op] if isinstance(op, str) else op)


def _compile(rule: Rule) -> ScriptRule | None:
    """The side that looks at scripts made ready; ``None`` where there is none."""
    side = _side(rule)
    pattern = side.pattern if side is not None else None
    if side is None or not isinstance(pattern, Pattern):
        return None

    def condition(what: str, text: str | None) -> Condition | None:
        return None if text is None else Condition(rule, what, text)

    def clauses(what: str, found: Sequence[Clause]) -> tuple[Condition, ...]:
        return tuple(Condition(rule, what, clause.where) for clause in found if clause.where is not None)

    needs_model = of_graph(rule)
    return ScriptRule(
        rule=rule,
        side=side,
        node=pattern.node,
        kinds=_kinds(pattern.op),
        where=condition(f"where of `{pattern.node}`", pattern.where),
        any_of=clauses("where in any_of", pattern.any_of),
        without=clauses("where in without", pattern.without),
        values={name: Condition(rule, f"value `{name}`", text) for name, text in rule.define.values.items() if name not in needs_model},
        when=condition("when", side.when),
        adjust=compile_adjustments(rule, side.adjust),
        message=Text(rule, "message", side.message),
        evidence={name: Condition(rule, f"evidence `{name}`", text) for name, text in side.evidence.items()},
        fixes=compile_fixes(rule, side.fix, side.alternatives),
    )


_ready = OncePerRule(_compile)
