"""What a rule must satisfy beyond its shape: operations exist, names are bound before use, expressions and templates hold water."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Collection, Iterable, Sequence

from normadvisor.errors import RuleError
from normadvisor.rulebook.check_fixes import check_fix
from normadvisor.rulebook.check_measured import check_measured_side, check_probe_side
from normadvisor.rulebook.check_script import check_script_side
from normadvisor.rulebook.expression import Expression
from normadvisor.rulebook.language import RESERVED, Names
from normadvisor.rulebook.model import Chain, Clause, Example, ModulePattern, Pattern, ProbePattern, Relation, Rule
from normadvisor.rulebook.template import Template
from normadvisor.rulebook.vocabulary import CHAIN, CONTEXT, MODEL, MODULE, NODE, PROBING
from normadvisor.rulebook.yamlfile import Document, KeyPath
from normadvisor.types import DISTRIBUTED, GROUPS, LOSSES, OPS, PRECISIONS, TASKS, Severity
from normadvisor.types.words import nearest

__all__ = ["EXPECT_FORM", "ID_FORM", "NAME_FORM", "NODE_FORM", "PROBING_KINDS", "check_rule"]

ID_FORM = "[A-Z]{2,}[0-9]{3}"
"""Form of a rule's id."""
NAME_FORM = "[a-z0-9]+(-[a-z0-9]+)*"
"""Form of a rule's name."""
NODE_FORM = "[a-z][a-z0-9_]*"
"""Form of the names a rule gives to nodes, groups, values and patterns."""
EXPECT_FORM = "[1-9][0-9]*(:(info|warning|error))?"
"""Form of an expected finding: its line, and its severity."""

_ID, _NAME, _NODE = re.compile(ID_FORM), re.compile(NAME_FORM), re.compile(NODE_FORM)
_EXPECT = re.compile("[1-9][0-9]*(:[a-z]+)?")
_CHOICES = {"task": TASKS, "loss": LOSSES, "precision": PRECISIONS, "distributed": DISTRIBUTED}
ALL_HITS = "_all"
"""``NAME_all`` is the list of all nodes that the relation ``NAME`` reached, one per path."""
_COUNTS = ("batch_size", "world_size")
PROBING_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(PROBING, str), **dict.fromkeys(("batch_size", "seed", "steps"), int), "lr": (int, float),
}  # fmt: skip
"""Types of the settings that an example may be probed with."""


def check_rule(rule: Rule, document: Document) -> list[RuleError]:
    """Everything wrong with a rule whose shape is right, in the order of the file's sections."""
    checker = _Checker(rule, document)
    checker.run()
    return checker.errors


class _Checker:
    """Walks one rule in the order in which its parts are evaluated, carrying the names known so far."""

    def __init__(self, rule: Rule, document: Document) -> None:
        self.rule = rule
        self.document = document
        self.errors: list[RuleError] = []
        self.countable: set[str] = set(rule.define.ops)
        self.ground: dict[str, Collection[str] | None] = {"context": CONTEXT, "model": MODEL}

    def error(self, message: str, path: KeyPath, hint: str | None = None, *, key: bool = False) -> None:
        """Note an error at the value (or the key) of ``path``."""
        self.errors.append(RuleError(message, location=self.document.locate(path, key=key), hint=hint))

    def run(self) -> None:
        """Check the whole rule."""
        self.words()
        rule = self.rule
        if rule.scope == "script":
            self.value_names()
            check_script_side(self, rule, ())
        elif rule.scope == "probe":
            check_probe_side(self, rule)
        else:
            self.definitions()
            self.graph_side()
            if rule.script is not None:
                check_script_side(self, rule.script, ("script",))
        check_measured_side(self, rule)
        self.examples()

    def graph_side(self) -> None:
        """Check what is looked for in the traced graph, and what is said about it."""
        rule = self.rule
        ground = {**self.ground, **dict.fromkeys(rule.define.values)}
        self.expression(rule.when, ("when",), ground)
        names = self.pattern(rule.pattern, ("pattern",), ground)
        captured = [name for name in names if name not in ground and not name.endswith(ALL_HITS)]
        if rule.at is not None and rule.at not in captured:
            self.error(f"'at' names '{rule.at}', which the pattern does not capture", ("at",), nearest(rule.at, captured))
        for position, name in enumerate(rule.related):
            if name not in captured:
                self.error(f"'related' names '{name}', which the pattern does not capture", ("related", position), nearest(name, captured))
        several = {name: name.endswith(ALL_HITS) or names[name] is CHAIN for name in names if name not in ground}
        self.sentences(names)
        self.fixes({**names, "matches": None}, several)

    def words(self) -> None:
        """Id, name and summary."""
        rule = self.rule
        if not _ID.fullmatch(rule.id):
            self.error(f"'{rule.id}' is not a rule id", ("id",), "two or more capitals and three digits, such as NA102")
        if not _NAME.fullmatch(rule.name):
            self.error(f"'{rule.name}' is not a rule name", ("name",), "lower-case words joined by hyphens, such as bias-before-norm")
        summary = rule.summary.strip()
        if not summary or "\n" in summary or summary.endswith("."):
            self.error("the summary must be one line without a full stop", ("summary",))
        if rule.id in rule.silenced_by:
            self.error("a rule cannot be silenced by itself", ("silenced_by", rule.silenced_by.index(rule.id)))

    def definitions(self) -> None:
        """Local groups, then patterns (each may count those before it), then values (each may use those before it)."""
        define = self.rule.define
        earlier: list[str] = []
        for name, members in define.ops.items():
            path: KeyPath = ("define", "ops", name)
            self.new_name(name, path, OPS | set(GROUPS), key=True)
            self.operations(members, path, local=earlier)
            earlier.append(name)
        for name, pattern in define.patterns.items():
            self.new_name(name, ("define", "patterns", name), {*OPS, *GROUPS, *define.ops}, key=True)
            self.pattern(pattern, ("define", "patterns", name), self.ground)
            self.countable.add(name)
        self.value_names()
        values: dict[str, Collection[str] | None] = dict(self.ground)
        for name, text in define.values.items():
            self.expression(text, ("define", "values", name), values)
            values[name] = None

    def value_names(self) -> None:
        """Names of values are new ones."""
        taken: set[str] = set(self.ground)
        for name in self.rule.define.values:
            self.new_name(name, ("define", "values", name), taken, key=True)
            taken.add(name)

    def new_name(self, name: str, path: KeyPath, taken: Collection[str], *, key: bool = False) -> None:
        """A name the rule gives must be a plain word that means nothing else."""
        if not _NODE.fullmatch(name) or keyword.iskeyword(name):
            self.error(f"'{name}' cannot be a name", path, "lower-case letters, digits and '_', beginning with a letter", key=key)
        elif name in RESERVED:
            self.error(f"'{name}' is reserved", path, f"reserved: {', '.join(sorted(RESERVED))}", key=key)
        elif name in taken:
            self.error(f"'{name}' already means something else here", path, "choose another name", key=key)

    def operations(self, names: str | list[str], path: KeyPath, *, local: Iterable[str], extra: Sequence[str] = ()) -> None:
        """Operations and groups must exist."""
        known = {*OPS, *GROUPS, *local, *extra}
        for position, name in enumerate([names] if isinstance(names, str) else names):
            if name not in known:
                self.error(f"unknown operation or group '{name}'", (*path, position), nearest(name, sorted(known)))

    def expression(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a condition or value."""
        self.compiled(Expression, text, path, names)

    def template(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a message."""
        self.compiled(Template, text, path, names)

    def compiled(self, kind: Callable[..., object], text: str | None, path: KeyPath, names: Names) -> object:
        """The expression or template; ``None`` without one, or when something is wrong with it."""
        if text is None:
            return None
        try:
            return kind(text, names, countable=self.countable, locate=lambda line, column: self.document.locate_inside(path, line, column))
        except RuleError as error:
            self.errors.append(error)
            return None

    def pattern(self, pattern: Pattern | ModulePattern | ProbePattern, path: KeyPath, ground: Names) -> Names:
        """Check a pattern; return the names it captures beside those of ``ground``."""
        if isinstance(pattern, ProbePattern):
            self.error("a traced model has nodes and modules, not measured layers", path, "write 'scope: probe', or name a node", key=True)
            return ground
        label = "module" if isinstance(pattern, ModulePattern) else "node"
        name = pattern.module if isinstance(pattern, ModulePattern) else pattern.node
        self.new_name(name, (*path, label), ground)
        self.operations(pattern.op, (*path, "op"), local=self.rule.define.ops)
        names = {**ground, name: MODULE if isinstance(pattern, ModulePattern) else NODE}
        if isinstance(pattern, Pattern) and pattern.chain is not None:
            names = self.chain(pattern.chain, (*path, "chain"), names, ground)
        self.expression(pattern.where, (*path, "where"), names)
        if isinstance(pattern, ModulePattern):
            return names
        names = self.relations(pattern, path, names)
        offered = dict(names)
        for position, clause in enumerate(pattern.any_of):
            offered.update(self.clause(clause, (*path, "any_of", position), names))
        for position, clause in enumerate(pattern.without):
            self.clause(clause, (*path, "without", position), offered)
        return offered

    def relations(self, owner: Pattern | Relation | Clause, path: KeyPath, names: Names) -> dict[str, Collection[str] | None]:
        """Check what must come later, then what must come earlier."""
        known = dict(names)
        for direction in ("precedes", "follows"):
            found: list[Relation] = getattr(owner, direction)
            for position, relation in enumerate(found):
                known = self.relation(relation, (*path, direction, position), known)
        return known

    def relation(self, relation: Relation, path: KeyPath, names: Names) -> dict[str, Collection[str] | None]:
        """Check one related node and what hangs on it."""
        local = self.rule.define.ops
        self.new_name(relation.node, (*path, "node"), names)
        self.operations(relation.op, (*path, "op"), local=local)
        self.operations(relation.through, (*path, "through"), local=local, extra=("any",))
        self.operations(relation.until, (*path, "until"), local=local)
        self.expression(relation.through_where, (*path, "through_where"), {**names, "via": NODE})
        known: dict[str, Collection[str] | None] = {**names, relation.node: NODE}
        self.expression(relation.where, (*path, "where"), known)
        known[f"{relation.node}{ALL_HITS}"] = None
        known = self.relations(relation, path, known)
        for position, clause in enumerate(relation.without):
            self.clause(clause, (*path, "without", position), known)
        return known

    def clause(self, clause: Clause, path: KeyPath, names: Names) -> dict[str, Collection[str] | None]:
        """Check one alternative or negated condition."""
        if clause.where is None and not clause.precedes and not clause.follows:
            self.error("an empty clause says nothing", path, "give it 'where', 'precedes' or 'follows'")
        known = self.relations(clause, path, names)
        self.expression(clause.where, (*path, "where"), known)
        return known

    def chain(self, chain: Chain, path: KeyPath, names: Names, ground: Names) -> dict[str, Collection[str] | None]:
        """Check a run of operations."""
        local = self.rule.define.ops
        self.new_name(chain.node, (*path, "node"), names)
        self.operations(chain.op, (*path, "op"), local=local)
        self.operations(chain.broken_by, (*path, "broken_by"), local=local)
        self.expression(chain.broken_where, (*path, "broken_where"), {**ground, "via": NODE})
        return {**names, chain.node: CHAIN}

    def sentences(self, names: Names) -> None:
        """Message, adjustments and evidence."""
        rule = self.rule
        counted = {**names, "matches": None}
        self.template(rule.message, ("message",), counted)
        for position, change in enumerate(rule.adjust):
            path: KeyPath = ("adjust", position)
            if change.severity is None and change.confidence is None and change.message is None:
                self.error("this adjustment changes nothing", path, "give it 'severity', 'confidence' or 'message'")
            self.expression(change.when, (*path, "when"), counted)
            self.template(change.message, (*path, "message"), counted)
        for name, text in rule.evidence.items():
            self.expression(text, ("evidence", name), counted)

    def fixes(self, names: Names, captured: dict[str, bool]) -> None:
        """The fix and the others beside it."""
        rule = self.rule
        if rule.fix is not None:
            check_fix(self, rule.fix, ("fix",), names, captured)
        elif rule.alternatives:
            self.error("alternatives to no fix", ("alternatives",), "the first of them is the fix", key=True)
        for position, fix in enumerate(rule.alternatives):
            check_fix(self, fix, ("alternatives", position), names, captured)

    def examples(self) -> None:
        """Contexts and expected lines of the examples."""
        kinds = {"bad": self.rule.examples.bad, "good": self.rule.examples.good, "fixed": self.rule.examples.fixed}
        for kind, found in kinds.items():
            for position, example in enumerate(found):
                path: KeyPath = ("examples", kind, position)
                self.context(example, path)
                self.expect(example, path, kind)
                self.scope(example, path)
        if len(kinds["fixed"]) > len(kinds["bad"]):
            self.error("there are more fixed examples than bad ones", ("examples", "fixed"), "they pair up in order")

    def scope(self, example: Example, path: KeyPath) -> None:
        """An example is for a side that the rule has; what is read as a script is not built."""
        scope = example.scope or self.rule.scope
        sides = {
            self.rule.scope,
            *(["script"] if self.rule.script is not None else []),
            *(["probe"] if self.rule.measured is not None else []),
        }
        if scope not in sides:
            self.error(f"the rule has no side for '{scope}'", (*path, "scope"))
        if scope == "script" and (example.model is not None or example.inputs):
            self.error("a script needs no model and no inputs", path, "leave 'model' and 'inputs' out")
        for key, value in example.probe.items():
            place = (*path, "probe", key)
            if scope != "probe":
                self.error("only examples of scope 'probe' are probed", place, "write 'scope: probe' in the example", key=True)
            elif key not in PROBING:
                self.error(f"unknown setting of a probe '{key}'", place, nearest(key, PROBING) or f"one of {', '.join(PROBING)}", key=True)
            elif not isinstance(value, PROBING_KINDS[key]) or isinstance(value, bool):
                self.error(f"'{key}' cannot be '{value}'", place)

    def expect(self, example: Example, path: KeyPath, kind: str) -> None:
        """``LINE`` or ``LINE:severity``."""
        if example.expect and kind != "bad":
            self.error("only bad examples expect findings", (*path, "expect"), key=True)
        for position, text in enumerate(example.expect):
            severity = text.partition(":")[2]
            if not _EXPECT.fullmatch(text):
                self.error(f"'{text}' is not LINE or LINE:severity", (*path, "expect", position), "such as 7 or 7:warning")
            elif severity and severity not in list(Severity):
                self.error(f"unknown severity '{severity}'", (*path, "expect", position), nearest(severity, list(Severity)))

    def context(self, example: Example, path: KeyPath) -> None:
        """Keys and values of the run context."""
        for key, value in example.context.items():
            place = (*path, "context", key)
            if key not in set(CONTEXT) - {"per_device_batch"}:
                self.error(f"unknown context key '{key}'", place, nearest(key, CONTEXT), key=True)
            elif key in _CHOICES and value not in _CHOICES[key]:
                choices = _CHOICES[key]
                self.error(f"unknown {key} '{value}'", place, nearest(str(value), choices) or f"one of {', '.join(choices)}")
            elif key in _COUNTS and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                self.error(f"{key} must be a whole number of at least 1", place)
            elif key == "fine_tune" and not isinstance(value, bool):
                self.error("fine_tune must be true or false", place)
