"""The shape of a rule, as plain dataclasses: validated when a file is read, cheap to send to a worker.

The annotations are the schema: ``rule schema`` prints what pydantic derives from them, and the docstrings of the fields are its
descriptions. This module imports neither pydantic nor torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MinLen

from normadvisor.types import Applicability, Confidence, OperationKind, Severity

__all__ = [
    "Adjustment", "Chain", "Change", "Clause", "Definitions", "Example", "Examples", "FixTemplate", "MeasuredSide", "ModulePattern",
    "Pattern", "ProbePattern", "Reference", "Relation", "Rule", "ScriptSide", "Value",
]  # fmt: skip

Names = str | list[str]
Value = str | bool | int | float
"""An expression; numbers and truth values need no quotes."""


@dataclass(kw_only=True)
class Chain:
    """A run of operations along one dataflow path, e.g. saturating activations without a normalization between."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    node: str
    """Name for the run in expressions: ``NAME.length``, ``NAME.first``, ``NAME.last``, ``NAME.nodes``, ``NAME.modules``."""
    op: Names
    """Operations or groups that count."""
    broken_by: Names = field(default_factory=list)
    """Operations or groups that end a run."""
    broken_where: str | None = None
    """Condition on ``via``, a node on the path: where it holds the run ends as well."""
    min: Annotated[int, Ge(1)] = 2
    """Shortest run that counts."""


@dataclass(kw_only=True)
class Relation:
    """Another node reached along the data flow from the node above it."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    node: str
    """Name for the node in expressions."""
    op: Names
    """Operations or groups that match."""
    where: str | None = None
    """Condition on this node and all nodes named before it."""
    through: Names = field(default_factory=list)
    """Operations or groups that may stand between; ``any`` for all."""
    through_where: str | None = None
    """Condition on ``via``, a node between."""
    until: Names = field(default_factory=list)
    """Operations or groups that end the search although ``through`` admits them."""
    paths: Literal["some", "every"] = "some"
    """Whether one path must lead to a match or all of them (a path that leaves the model does not)."""
    within: Annotated[int, Ge(1), Le(10_000)] = 200
    """How many nodes the search visits at most."""
    optional: bool = False
    """Whether the pattern holds without a match too; its names are ``None`` then."""
    precedes: list[Relation] = field(default_factory=list)
    """Nodes that must come later in the data flow."""
    follows: list[Relation] = field(default_factory=list)
    """Nodes that must come earlier in the data flow."""
    without: list[Clause] = field(default_factory=list)
    """None of these may hold."""


@dataclass(kw_only=True)
class Clause:
    """A condition, or relations of the node above it that hold together; used for negation and alternatives."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    where: str | None = None
    """Condition that must hold."""
    precedes: list[Relation] = field(default_factory=list)
    """Nodes that must come later in the data flow."""
    follows: list[Relation] = field(default_factory=list)
    """Nodes that must come earlier in the data flow."""


@dataclass(kw_only=True)
class Pattern:
    """A node of the graph, or an event of a script, and what must be true around it."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    node: str
    """Name for the node or event in expressions."""
    op: Names
    """Operations or groups that match; kinds of events in a script."""
    where: str | None = None
    """Condition on this node or event."""
    precedes: list[Relation] = field(default_factory=list)
    """Nodes that must come later in the data flow."""
    follows: list[Relation] = field(default_factory=list)
    """Nodes that must come earlier in the data flow."""
    chain: Chain | None = None
    """A run of operations that ends at this node."""
    any_of: list[Clause] = field(default_factory=list)
    """At least one of these must hold; the first that does names its nodes."""
    without: list[Clause] = field(default_factory=list)
    """None of these may hold."""


@dataclass(kw_only=True)
class ModulePattern:
    """A module of the model, whether or not it runs."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    module: str
    """Name for the module in expressions."""
    op: Names
    """Operations or groups that match."""
    where: str | None = None
    """Condition on this module."""


@dataclass(kw_only=True)
class ProbePattern:
    """A measured layer of a model; without a name for the layer, the whole run."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    where: str
    """Condition on the layer and the run."""
    layer: str | None = None
    """Name for the layer in expressions."""
    op: Names = field(default_factory=lambda: ["any"])
    """Operations or groups that the layer may be; ``any`` for all, containers with parameters of their own included."""


@dataclass(kw_only=True)
class Definitions:
    """Names local to one rule."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    ops: dict[str, list[str]] = field(default_factory=dict)
    """Groups of operations."""
    values: dict[str, str] = field(default_factory=dict)
    """Expressions over the context and the model, evaluated once per model, in order."""
    patterns: dict[str, Pattern] = field(default_factory=dict)
    """Patterns for ``count(NAME)``."""


@dataclass(kw_only=True)
class Adjustment:
    """Another severity, confidence or message where a condition holds; the first that does wins."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    when: str
    """Condition over the matched nodes, the context and the model."""
    severity: Severity | None = None
    """Severity instead of the rule's."""
    confidence: Confidence | None = None
    """Confidence instead of the rule's."""
    message: str | None = None
    """Message instead of the rule's."""


@dataclass(kw_only=True)
class Change:
    """One change of one layer; both the source and a model that lives in memory are changed by it."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    kind: OperationKind
    """What is done to the layer."""
    of: str
    """Name of a node, a module, a run or a list ``NAME_all``; of the last two every node is changed."""
    other: str | None = None
    """``swap_layers``: name of the layer that runs after ``of`` and is to run before it."""
    argument: str | None = None
    """``set_argument``: its name."""
    value: Value | None = None
    """``set_argument``: expression; where it is unknown the fix is not offered."""
    layer: str | None = None
    """``replace_layer``, ``insert_layer``, ``wrap_layer``: template of a dotted name, such as ``torch.nn.GroupNorm``; ``use_function``: of
    the function."""
    arguments: dict[str, Value] = field(default_factory=dict)
    """Name: expression. What ``layer`` is built with; an argument whose value is ``None`` is left out."""
    when: str | None = None
    """Condition; where it does not hold this change is left out. Of a run or list it is asked for every node, ``via``."""


@dataclass(kw_only=True)
class FixTemplate:
    """How to mend a finding."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    applicability: Applicability
    """``safe``, ``unsafe`` or ``display``."""
    description: str
    """Template: what to change, and what happens to weights and ``state_dict``."""
    title: str = ""
    """Template: a few words for a menu."""
    trade_off: str = ""
    """Template: what is paid for it, with numbers, beside other fixes."""
    when: str | None = None
    """Condition over the matched nodes, the context and the model; where it does not hold for every layer of a finding the fix is
    not offered."""
    change: list[Change] = field(default_factory=list)
    """What is done to the layers; empty for a fix in words."""
    edit: str | None = None
    """Fixes of scripts: the edit of the source that does it."""


@dataclass(kw_only=True)
class Reference:
    """Where a claim or a number comes from."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    title: str
    """Authors, title, year; or the name of the documentation page."""
    url: str | None = None
    """Address, where there is one."""
    claim: str | None = None
    """What it says, in our words, with the number."""


@dataclass(kw_only=True)
class Example:
    """A small program that is the rule's test and its documentation."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    code: str
    """Python source of a file that defines the model, or of a script."""
    model: str | None = None
    """Name of the class or factory in ``code``; not needed when there is one that builds without arguments."""
    inputs: list[str] = field(default_factory=list)
    """Inputs as ``--input`` takes them; inferred when empty."""
    context: dict[str, Any] = field(default_factory=dict)
    """Context as the configuration takes it, e.g. ``batch_size: 2``."""
    expect: list[str] = field(default_factory=list)
    """Bad examples: ``LINE`` or ``LINE:severity`` of every finding of this rule, in order; not compared when empty."""
    note: str | None = None
    """What the reader should see in it."""
    scope: Literal["graph", "script", "probe"] | None = None
    """Which side of the rule it is for: the traced model, the source or a measurement; the rule's own scope when left out."""
    probe: dict[str, Any] = field(default_factory=dict)
    """How the model is probed, e.g. ``batch_size: 64``; ``data`` and ``loss`` may name functions of ``code``."""


@dataclass(kw_only=True)
class Examples:
    """Programs the rule must speak on, be silent on, and the mended form of the bad ones."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    bad: Annotated[list[Example], MinLen(1)]
    """The rule reports each of these."""
    good: Annotated[list[Example], MinLen(1)]
    """The rule is silent on each of these, the tempting look-alikes first."""
    fixed: list[Example] = field(default_factory=list)
    """The bad examples, mended, in the same order."""


@dataclass(kw_only=True)
class ScriptSide:
    """What a rule on the traced graph looks for in scripts: the same mistake, seen in the source."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    pattern: Pattern
    """An event of a script."""
    message: str
    """Template of the finding's sentence."""
    when: str | None = None
    """Condition over the context; where it does not hold the script side is not run."""
    severity: Severity | None = None
    """Default severity in scripts; the rule's when left out."""
    confidence: Confidence = Confidence.CONFIRMED
    """Default confidence in scripts."""
    adjust: list[Adjustment] = field(default_factory=list)
    """Other severities or confidences where conditions hold."""
    at: str | None = None
    """Which place of the event the finding points at; the event itself by default."""
    related: list[str] = field(default_factory=list)
    """Places of the event that explain the finding."""
    evidence: dict[str, str] = field(default_factory=dict)
    """Name: expression. What the finding rests on."""
    fix: FixTemplate | None = None
    """How to mend it in a script."""
    alternatives: list[FixTemplate] = field(default_factory=list)
    """Other ways to mend it; the first that is offered stands in where ``fix`` is not."""


@dataclass(kw_only=True)
class MeasuredSide:
    """What a probe of the model says about findings of a rule on the graph: whether they hold."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    confirm: str | None = None
    """Condition over ``found``, the measured layers of the finding, and ``probe``; where it holds the finding is confirmed."""
    withdraw: str | None = None
    """Condition; where it holds, and ``confirm`` does not, the finding is taken back."""
    evidence: dict[str, str] = field(default_factory=dict)
    """Name: expression. The numbers that decide it; they join the evidence of the finding."""
    message: str | None = None
    """Template: a sentence that is added to the message of a confirmed finding."""
    reason: str | None = None
    """Template: why the finding is taken back, with the numbers."""


@dataclass(kw_only=True)
class Rule:
    """One rule, one file."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    id: str
    """Two or more capitals and three digits: ``NA102``; other prefixes are free for user rules."""
    name: str
    """Words joined by hyphens."""
    severity: Severity
    """Default severity."""
    scope: Literal["graph", "script", "probe"]
    """What the rule looks at."""
    summary: str
    """One line without a full stop."""
    why: str
    """The reason, with numbers."""
    references: Annotated[list[Reference], MinLen(1)]
    """Sources of what ``why`` claims."""
    pattern: Pattern | ModulePattern | ProbePattern
    """What to look for."""
    message: str
    """Template of the finding's sentence; ``{expression}`` is replaced by its value."""
    examples: Examples
    """Tests and documentation."""
    define: Definitions = field(default_factory=Definitions)
    """Names local to the rule."""
    when: str | None = None
    """Condition over the context and the model; where it does not hold the rule is not run."""
    confidence: Confidence = Confidence.CONFIRMED
    """Default confidence."""
    adjust: list[Adjustment] = field(default_factory=list)
    """Other severities or confidences where conditions hold."""
    at: str | None = None
    """Which named node the finding points at, the first by default; in a script which place of the event."""
    related: list[str] = field(default_factory=list)
    """Further named nodes whose places explain the finding; in a script places of the event."""
    report: Literal["site", "model"] = "site"
    """One finding per construction site (layers built by one line are merged), or one per model."""
    evidence: dict[str, str] = field(default_factory=dict)
    """Name: expression. What the finding rests on."""
    fix: FixTemplate | None = None
    """How to mend it."""
    alternatives: list[FixTemplate] = field(default_factory=list)
    """Other ways to mend it; the first that is offered stands in where ``fix`` is not."""
    script: ScriptSide | None = None
    """Rules on the graph: the same mistake in scripts."""
    measured: MeasuredSide | None = None
    """Rules on the graph: what a probe says about their findings."""
    explained_by: list[str] = field(default_factory=list)
    """Rules of scope ``probe``: static rules that name the cause; where one of them speaks on the same layers the finding refers to it."""
    silenced_by: list[str] = field(default_factory=list)
    """Rules that say the same more precisely: where one of them speaks on the same module, this one is silent."""
    exempt: list[str] = field(default_factory=list)
    """What the rule leaves alone and why, for the documentation."""
    source: str = ""
    """Path of the file the rule was read from; set by the loader."""
