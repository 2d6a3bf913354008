"""Rules of scope ``probe``, and the measured side of others, made ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from normadvisor.errors import RuleError
from normadvisor.match.compiled_fix import CompiledFix, compile_fixes
from normadvisor.match.conditions import CompiledAdjustment, Condition, OncePerRule, Text, compile_adjustments, place_of
from normadvisor.rulebook.model import MeasuredSide, ProbePattern, Rule
from normadvisor.types import expand

__all__ = ["CompiledMeasured", "CompiledProbe", "compile_measured", "compile_probe"]

_ANY = "any"


@dataclass(frozen=True, slots=True)
class CompiledProbe:
    """A rule of scope ``probe``."""

    rule: Rule
    layer: str | None
    """Name of the layer in expressions; ``None`` where the rule is about the run."""
    ops: frozenset[str] | None
    """Operations that the layer may be; ``None`` for any."""
    where: Condition
    values: Mapping[str, Condition]
    when: Condition | None
    adjust: tuple[CompiledAdjustment, ...]
    message: Text
    evidence: Mapping[str, Condition]
    fixes: tuple[CompiledFix, ...]


@dataclass(frozen=True, slots=True)
class CompiledMeasured:
    """A :class:`~normadvisor.rulebook.model.MeasuredSide`."""

    confirm: Condition | None
    withdraw: Condition | None
    evidence: Mapping[str, Condition]
    message: Text | None
    reason: Text | None


def compile_probe(rule: Rule) -> CompiledProbe:
    """Make a rule of scope ``probe`` ready, once: a watched training asks after each step.

    Raises:
        RuleError: its pattern is of another scope, or an expression does not parse.

    """
    return _ready(rule)


def _compiled(rule: Rule) -> CompiledProbe:
    pattern = rule.pattern
    if not isinstance(pattern, ProbePattern):
        message = f"{rule.id}: the pattern of a rule about measurements names a layer or the run"
        raise RuleError(message, location=place_of(rule.source, "pattern"))
    names = [pattern.op] if isinstance(pattern.op, str) else list(pattern.op)
    return CompiledProbe(
        rule=rule,
        layer=pattern.layer,
        ops=None if _ANY in names else _expanded(rule, names),
        where=Condition(rule, "where", pattern.where),
        values={name: Condition(rule, f"value `{name}`", text) for name, text in rule.define.values.items()},
        when=None if rule.when is None else Condition(rule, "when", rule.when),
        adjust=compile_adjustments(rule, rule.adjust),
        message=Text(rule, "message", rule.message),
        evidence={name: Condition(rule, f"evidence `{name}`", text) for name, text in rule.evidence.items()},
        fixes=compile_fixes(rule, rule.fix, rule.alternatives),
    )


def compile_measured(rule: Rule, side: MeasuredSide) -> CompiledMeasured:
    """Make the measured side of a rule ready.

    Raises:
        RuleError: an expression does not parse.

    """
    return CompiledMeasured(
        confirm=None if side.confirm is None else Condition(rule, "confirm", side.confirm),
        withdraw=None if side.withdraw is None else Condition(rule, "withdraw", side.withdraw),
        evidence={name: Condition(rule, f"evidence `{name}`", text) for name, text in side.evidence.items()},
        message=None if side.message is None else Text(rule, "message of the measurement", side.message),
        reason=None if side.reason is None else Text(rule, "reason", side.reason),
    )


def _expanded(rule: Rule, names: list[str], seen: tuple[str, ...] = ()) -> frozenset[str]:
    """Operations and groups, the rule's own included."""
    found: set[str] = set()
    for name in names:
        if name in rule.define.ops and name not in seen:
            found |= _expanded(rule, rule.define.ops[name], (*seen, name))
            continue
        try:
            found |= expand((name,))
        except KeyError:
            raise RuleError(f"{rule.id}: `{name}` is neither an operation nor a group", location=place_of(rule.source, name)) from None
    return frozenset(found)


_ready = OncePerRule(_compiled)
