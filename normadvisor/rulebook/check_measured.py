"""What rules about measurements must satisfy: they ask layers and the run for what is measured, and for nothing of a graph."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from normadvisor.errors import RuleError
from normadvisor.rulebook.language import Names
from normadvisor.rulebook.model import FixTemplate, MeasuredSide, ProbePattern, Rule
from normadvisor.rulebook.vocabulary import CONTEXT, LAYER, RUN, RUN_LAYERS
from normadvisor.rulebook.yamlfile import KeyPath
from normadvisor.types import Applicability
from normadvisor.types.words import nearest

__all__ = ["FOUND", "check_measured_side", "check_probe_side"]

_COUNT = re.compile(r"\bcount\s*\(")
FOUND = "found"
"""The measured layers of a finding, in the section ``measured``."""


class Checker(Protocol):
    """The part of the rule's checker that is needed here."""

    rule: Rule
    errors: list[RuleError]
    countable: set[str]

    def error(self, message: str, path: KeyPath, hint: str | None = None, *, key: bool = False) -> None:
        """Note an error."""

    def new_name(self, name: str, path: KeyPath, taken: Collection[str], *, key: bool = False) -> None:
        """Check a name that the rule gives."""

    def operations(self, names: str | list[str], path: KeyPath, *, local: Iterable[str], extra: Sequence[str] = ()) -> None:
        """Check names of operations and groups."""

    def expression(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a condition or value."""

    def template(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a message."""


class _Uncounted:
    """A checker that refuses ``count()``, which counts nodes of a traced model."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self.rule, self.errors, self.countable = checker.rule, checker.errors, checker.countable
        self.error, self.new_name, self.operations = checker.error, checker.new_name, checker.operations

    def expression(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a condition or value."""
        self._checker.expression(text, path, names)
        self._counts(text, path)

    def template(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a message."""
        self._checker.template(text, path, names)
        self._counts(text, path)

    def _counts(self, text: str | None, path: KeyPath) -> None:
        if text is not None and _COUNT.search(text):
            self.error("count() counts nodes of a traced model", path, "count layers with len([layer for layer in probe.layers if ...])")


def check_probe_side(checker: Checker, rule: Rule) -> None:
    """Note everything wrong with a rule of scope ``probe``.

    Args:
        checker: collects the errors.
        rule: the rule.

    """
    checker = _Uncounted(checker)
    _no_graph(checker, rule)
    ground: dict[str, Collection[str] | None] = {"context": CONTEXT, "probe": RUN}
    for name, text in rule.define.values.items():
        path: KeyPath = ("define", "values", name)
        checker.new_name(name, path, ground, key=True)
        checker.expression(text, path, ground)
        ground[name] = None
    checker.expression(rule.when, ("when",), ground)
    names = _pattern(checker, rule, ground)
    told = {**names, "matches": None}
    checker.template(rule.message, ("message",), told)
    for position, change in enumerate(rule.adjust):
        place: KeyPath = ("adjust", position)
        if change.severity is None and change.confidence is None and change.message is None:
            checker.error("this adjustment changes nothing", place, "give it 'severity', 'confidence' or 'message'")
        checker.expression(change.when, (*place, "when"), told)
        checker.template(change.message, (*place, "message"), told)
    for name, text in rule.evidence.items():
        checker.expression(text, ("evidence", name), told)
    if rule.fix is None and rule.alternatives:
        checker.error("alternatives to no fix", ("alternatives",), "the first of them is the fix", key=True)
    _fixes(checker, rule, told)


def check_measured_side(checker: Checker, rule: Rule) -> None:
    """Note everything wrong with the section ``measured``, and with ``explained_by`` where nothing is measured."""
    if rule.explained_by and rule.scope != "probe":
        checker.error("only rules of scope 'probe' are explained by others", ("explained_by",), key=True)
    side = rule.measured
    if side is None:
        return
    if rule.scope != "graph":
        checker.error("'measured' is for rules on the graph", ("measured",), "a rule of scope 'probe' is measured itself", key=True)
        return
    checker = _Uncounted(checker)
    _decides(checker, side)
    names: Names = {"context": CONTEXT, "probe": RUN, FOUND: None}
    for key in ("confirm", "withdraw"):
        checker.expression(getattr(side, key), ("measured", key), names)
    for key in ("message", "reason"):
        checker.template(getattr(side, key), ("measured", key), names)
    for name, text in side.evidence.items():
        checker.expression(text, ("measured", "evidence", name), names)


def _decides(checker: Checker, side: MeasuredSide) -> None:
    if side.confirm is None and side.withdraw is None:
        checker.error("a measurement that decides nothing", ("measured",), "give it 'confirm' or 'withdraw'", key=True)
    if side.withdraw is not None and side.reason is None:
        checker.error("'reason' is missing", ("measured",), "what is taken back is shown with the measurement", key=True)
    if side.reason is not None and side.withdraw is None:
        checker.error("a reason for nothing that is taken back", ("measured", "reason"), "give 'withdraw' a condition", key=True)
    if side.message is not None and side.confirm is None:
        checker.error("a message for nothing that is confirmed", ("measured", "message"), "give 'confirm' a condition", key=True)


def _no_graph(checker: Checker, rule: Rule) -> None:
    """What a rule of scope ``probe`` cannot have."""
    hint = "a measured layer has no data flow around it"
    for name in rule.define.patterns:
        checker.error("patterns to count mean nothing in a measurement", ("define", "patterns", name), hint, key=True)
    if rule.script is not None:
        checker.error("'script' is for rules on the graph", ("script",), key=True)
    if rule.at is not None:
        if isinstance(rule.pattern, ProbePattern) and rule.pattern.layer is not None:
            checker.error("the finding points at the first layer that the pattern names", ("at",), "leave 'at' out", key=True)
        elif rule.at not in RUN_LAYERS:
            hint = nearest(rule.at, RUN_LAYERS) or f"one of {', '.join(RUN_LAYERS)}"
            checker.error(f"'at' names '{rule.at}', which holds no names of layers", ("at",), hint)
    if rule.related:
        checker.error("the other layers of the finding are related by themselves", ("related",), "leave 'related' out", key=True)


def _pattern(checker: Checker, rule: Rule, ground: Names) -> Names:
    """The pattern; returns the names that are known afterwards."""
    pattern = rule.pattern
    if not isinstance(pattern, ProbePattern):
        hint = "name a layer with 'layer', or give 'where' alone for the whole run"
        checker.error("a measurement has layers, not nodes or modules", ("pattern",), hint, key=True)
        return ground
    if pattern.layer is None:
        if pattern.op != ["any"]:
            checker.error("the run is no operation", ("pattern", "op"), "name a layer with 'layer'", key=True)
        checker.expression(pattern.where, ("pattern", "where"), ground)
        return ground
    checker.new_name(pattern.layer, ("pattern", "layer"), ground)
    checker.operations(pattern.op, ("pattern", "op"), local=rule.define.ops, extra=("any",))
    names: Names = {**ground, pattern.layer: LAYER}
    checker.expression(pattern.where, ("pattern", "where"), names)
    return {**names, f"{pattern.layer}_all": None}


def _fixes(checker: Checker, rule: Rule, names: Names) -> None:
    """Fixes in words: a measurement knows no constructor."""
    found: list[tuple[FixTemplate, KeyPath]] = [(fix, ("alternatives", position)) for position, fix in enumerate(rule.alternatives)]
    if rule.fix is not None:
        found.insert(0, (rule.fix, ("fix",)))
    for fix, path in found:
        for key in ("description", "title", "trade_off"):
            checker.template(getattr(fix, key) or None, (*path, key), names)
        checker.expression(fix.when, (*path, "when"), names)
        if fix.change or fix.edit is not None:
            key = "change" if fix.change else "edit"
            checker.error(f"'{key}' needs a rule on the graph or on scripts", (*path, key), "say in words what to do", key=True)
        elif fix.applicability is not Applicability.DISPLAY:
            checker.error("a fix in words is 'display'", (*path, "applicability"))
