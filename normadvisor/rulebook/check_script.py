"""What a rule's look at scripts must satisfy: kinds of events, their attributes and places exist, and nothing asks for a graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Protocol

from normadvisor.errors import ExpressionError, RuleError
from normadvisor.rulebook.expression import Expression
from normadvisor.rulebook.language import Names
from normadvisor.rulebook.model import Clause, FixTemplate, ModulePattern, Pattern, ProbePattern, Rule, ScriptSide
from normadvisor.rulebook.script_values import of_graph
from normadvisor.rulebook.template import Template
from normadvisor.rulebook.vocabulary import CONTEXT, event_attributes
from normadvisor.rulebook.yamlfile import Document, KeyPath
from normadvisor.types.events import EDITS, EVENTS, PLACES
from normadvisor.types.words import nearest

__all__ = ["check_script_side"]

_NO_MODEL = "a script has no traced model"
_COUNT = re.compile(r"\bcount\s*\(")


class Checker(Protocol):
    """The part of the rule's checker that is needed here."""

    rule: Rule
    document: Document
    errors: list[RuleError]

    def error(self, message: str, path: KeyPath, hint: str | None = None, *, key: bool = False) -> None:
        """Note an error."""

    def new_name(self, name: str, path: KeyPath, taken: Collection[str], *, key: bool = False) -> None:
        """Check a name that the rule gives."""


def check_script_side(checker: Checker, side: Rule | ScriptSide, prefix: KeyPath) -> None:
    """Note everything wrong with a rule of scope ``script``, or with the script side of another.

    Args:
        checker: collects the errors.
        side: the rule itself, or its ``script`` section.
        prefix: where it stands in the file.

    """
    _ScriptChecker(checker, side, prefix).run()


class _ScriptChecker:
    """Walks one side in the order of its evaluation."""

    def __init__(self, checker: Checker, side: Rule | ScriptSide, prefix: KeyPath) -> None:
        self.checker = checker
        self.side = side
        self.prefix = prefix
        self.of_graph = of_graph(checker.rule)

    def run(self) -> None:
        """Check the whole side."""
        side, prefix = self.side, self.prefix
        values = [name for name in self.checker.rule.define.values if name not in self.of_graph]
        ground: dict[str, Collection[str] | None] = {"context": CONTEXT, **dict.fromkeys(values)}
        if isinstance(side, Rule):
            self.whole_rule(side)
        self.expression(side.when, (*prefix, "when"), ground)
        names = self.pattern(side.pattern, (*prefix, "pattern"), ground)
        self.places()
        self.sentences({**names, "matches": None})

    def whole_rule(self, rule: Rule) -> None:
        """What a rule of scope ``script`` cannot have."""
        error = self.checker.error
        for name in rule.define.ops:
            error("groups of operations mean nothing in a script", ("define", "ops", name), "list the kinds of events in 'op'", key=True)
        for name in rule.define.patterns:
            error("patterns to count mean nothing in a script", ("define", "patterns", name), _NO_MODEL, key=True)
        if rule.report == "model":
            error("a script rule reports every place", ("report",), "leave 'report' out")
        if rule.script is not None:
            error("the rule is about scripts already", ("script",), "'script' is for rules on the graph", key=True)
        known: dict[str, Collection[str] | None] = {"context": CONTEXT}
        for name, text in rule.define.values.items():
            self.expression(text, ("define", "values", name), known)
            known[name] = None

    def pattern(self, pattern: Pattern | ModulePattern | ProbePattern, path: KeyPath, ground: Names) -> Names:
        """An event and conditions on it; returns the names that are known afterwards."""
        error = self.checker.error
        if isinstance(pattern, ProbePattern):
            error("a script has events, not measured layers", path, "name the event with 'node'", key=True)
            return ground
        if isinstance(pattern, ModulePattern):
            error("a script has events, not modules", (*path, "module"), "name the event with 'node'", key=True)
            return ground
        self.checker.new_name(pattern.node, (*path, "node"), ground)
        kinds = [pattern.op] if isinstance(pattern.op, str) else pattern.op
        for position, kind in enumerate(kinds):
            if kind not in EVENTS:
                hint = nearest(kind, EVENTS) or f"one of {', '.join(EVENTS)}"
                error(f"unknown kind of event '{kind}'", (*path, "op", position), hint)
        known = [kind for kind in kinds if kind in EVENTS]
        names: Names = {**ground, pattern.node: event_attributes(known) if len(known) == len(kinds) else None}
        self.expression(pattern.where, (*path, "where"), names)
        if pattern.chain is not None:
            error("'chain' follows the data flow of a graph; events of a script have none", (*path, "chain"), key=True)
        self.no_relations(pattern, path)
        for key in ("any_of", "without"):
            clauses: list[Clause] = getattr(pattern, key)
            for position, clause in enumerate(clauses):
                self.clause(clause, (*path, key, position), names)
        return names

    def no_relations(self, owner: Pattern | Clause, path: KeyPath) -> None:
        """Relations need a graph."""
        for key in ("precedes", "follows"):
            if getattr(owner, key):
                hint = "ask the event for what happened before it, with 'where'"
                self.checker.error(f"'{key}' follows the data flow of a graph; events of a script have none", (*path, key), hint, key=True)

    def clause(self, clause: Clause, path: KeyPath, names: Names) -> None:
        """One alternative or negated condition."""
        self.no_relations(clause, path)
        if clause.where is None and not clause.precedes and not clause.follows:
            self.checker.error("an empty clause says nothing", path, "give it 'where'")
        self.expression(clause.where, (*path, "where"), names)

    def places(self) -> None:
        """``at`` and ``related`` name places."""
        named: list[tuple[str, KeyPath]] = [(name, ("related", position)) for position, name in enumerate(self.side.related)]
        if self.side.at is not None:
            named.append((self.side.at, ("at",)))
        for name, path in named:
            if name not in PLACES:
                hint = nearest(name, PLACES) or f"one of {', '.join(PLACES)}"
                self.checker.error(f"'{path[0]}' names '{name}', which is no place of an event", (*self.prefix, *path), hint)

    def sentences(self, names: Names) -> None:
        """Message, adjustments, evidence and fix."""
        side, prefix = self.side, self.prefix
        self.template(side.message, (*prefix, "message"), names)
        for position, change in enumerate(side.adjust):
            path: KeyPath = (*prefix, "adjust", position)
            if change.severity is None and change.confidence is None and change.message is None:
                self.checker.error("this adjustment changes nothing", path, "give it 'severity', 'confidence' or 'message'")
            self.expression(change.when, (*path, "when"), names)
            self.template(change.message, (*path, "message"), names)
        for name, text in side.evidence.items():
            self.expression(text, (*prefix, "evidence", name), names)
        if side.fix is not None:
            self.fix(side.fix, (*prefix, "fix"), names)
        elif side.alternatives:
            self.checker.error("alternatives to no fix", (*prefix, "alternatives"), "the first of them is the fix", key=True)
        for position, fix in enumerate(side.alternatives):
            self.fix(fix, (*prefix, "alternatives", position), names)

    def fix(self, fix: FixTemplate, path: KeyPath, names: Names) -> None:
        """One fix; a script has no layers to change."""
        self.template(fix.description, (*path, "description"), names)
        self.template(fix.title or None, (*path, "title"), names)
        self.template(fix.trade_off or None, (*path, "trade_off"), names)
        self.expression(fix.when, (*path, "when"), names)
        if fix.change:
            self.checker.error("'change' changes layers of a traced model", (*path, "change"), "name an 'edit' of the source", key=True)
        if fix.edit is not None and fix.edit not in EDITS:
            hint = nearest(fix.edit, EDITS) or f"one of {', '.join(EDITS)}"
            self.checker.error(f"unknown edit '{fix.edit}'", (*path, "edit"), hint)

    def expression(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a condition or value."""
        self.compiled(Expression, text, path, names)

    def template(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a message."""
        self.compiled(Template, text, path, names)

    def compiled(self, kind: Callable[..., object], text: str | None, path: KeyPath, names: Names) -> None:
        """Check either; say of what needs a graph that a script has none."""
        if text is None:
            return
        try:
            kind(text, names, locate=lambda line, column: self.checker.document.locate_inside(path, line, column))
        except ExpressionError as error:
            missing = error.message.removeprefix("unknown name '").removesuffix("'")
            if missing in {"model", *self.of_graph}:
                error = ExpressionError(error.message, location=error.location, hint=_NO_MODEL)
            self.checker.errors.append(error)
            return
        counting = _COUNT.search(text)
        if counting:
            before = text[: counting.start()]
            place = self.checker.document.locate_inside(path, before.count("\n"), counting.start() - (before.rfind("\n") + 1))
            self.checker.errors.append(RuleError("count() counts nodes of a traced model", location=place, hint=_NO_MODEL))
