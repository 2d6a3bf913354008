"""The documentation of the rules, generated from the rules: ``python -m normadvisor.rulebook.docs [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from normadvisor.errors import NormAdvisorError, UsageError
from normadvisor.rulebook.catalogue import load_rules
from normadvisor.rulebook.explain import explain_markdown
from normadvisor.rulebook.explain_fixes import applicabilities
from normadvisor.rulebook.language import FUNCTIONS
from normadvisor.rulebook.model import Rule
from normadvisor.rulebook.schema import schema_text
from normadvisor.rulebook.vocabulary import ATTRIBUTES, CHAIN, CHANGES, CONTEXT, LAYER, MODEL, MODULE, NODE, RUN
from normadvisor.types import GROUPS, OPS
from normadvisor.types.events import EDITS, EVENT, EVENTS, PLACES

__all__ = ["documentation", "main", "write_documentation"]

MARK = "<!-- Generated from the rule files by `normadvisor rule explain --all --write`: edit those instead. -->"

FAMILIES = {
    "NA1": "Order and redundancy",
    "NA2": "Batch statistics",
    "NA3": "Choice and geometry of the normalization",
    "NA4": "Train and eval mode",
    "NA5": "Activation, initialisation, loss",
    "NA6": "Measured by the probe",
    "NA7": "Fused replacements",
}

_FUNCTION_WORDS = {
    "abs": "absolute value", "all": "every value of a list is true", "any": "some value of a list is true",
    "count": "nodes of an operation, a group or a pattern of `define.patterns`",
    "group_count": "groups for a number of channels: the largest divisor up to 32, or a second argument, that leaves every group two",
    "has": "`has(node, 'eps')`: the attribute is known",
    "len": "length", "max": "largest", "min": "smallest", "prod": "product of a list", "round": "rounded", "sorted": "sorted list",
    "sum": "sum of a list",
}  # fmt: skip

_LANGUAGE = """\
# Expressions in rules

Conditions, values and the placeholders of messages are expressions: constants, names, attributes, `[index]`, lists, arithmetic,
comparisons, `and`, `or`, `not`, `a if b else c`, the functions below, and comprehensions with one `for`, such as
`any(size > 1 for size in conv.kernel_size)`. Nothing else is admitted: an expression cannot call methods, import or define anything, and
its time and memory are bounded.

`None` is "unknown", and an unknown never makes a rule speak: comparing it by size is false, computing with it gives `None`, and so does
asking it for an attribute. `x is None` asks whether something is unknown.

In templates, `{expression}` is replaced by the value and `{expression:.3g}` by the number in that format; `{{` and `}}` are braces. Lists
are joined by commas.

## Names

- every node the pattern has named so far: the node itself, its chain, then `precedes`, `follows`, `any_of` and `without`, in this order;
  `NAME_all` is the list of all nodes that a relation reached, one per path
- `via` in `through_where` and `broken_where`: the node on the way
- `context` and `model`, described below
- the values of `define.values`
- `matches` in messages, adjustments and evidence: how often the rule matches in this model

## Scripts

A rule of scope `script` reads the source without running it. Its pattern names an event instead of a node: `op` is one of the kinds below,
and conditions see the attributes of that kind. Events have no data flow, so relations and chains are left to graphs; `any_of` and
`without` hold conditions. `at` and `related` name places of the event. There is `context`, but no `model` and no `count()`.

A rule on the graph may have a section `script` for the same mistake seen in the source, with a pattern, message, adjustments, places,
evidence and fix of its own.

Findings of one rule on one model with the same cause in one function are one finding, at the first place; a rule is silent where one of
its `silenced_by` speaks at the same place or of the same cause.

## Measurements

A rule of scope `probe` looks at what a probe measured: a few training steps, and what eval mode does. Its pattern names a measured layer,
`{layer: layer, op: [tanh, sigmoid], where: layer.saturated_share > 0.5}`, or, with `where` alone, asks the run. A layer is a module that
holds parameters itself, normalizes, or is an activation. Conditions know the layer, `probe`, `context` and the values of `define.values`;
messages, adjustments and evidence also `matches`, how many layers match, and `NAME_all`, the layers of the finding in order
of execution, so that `NAME` is the first of them and `NAME_all[-1]` the last. There is no `model` and no `count()`. It points at the
line that builds the first layer; the finding of a rule about the run at the layer that `at` names, a fact such as `nonfinite_layer` or
`train_in_eval`, at the line that goes with that fact, such as `nonfinite_line`, or at the model. `explained_by` names static rules: where
one of them speaks on the same layers, the finding refers to it.

A rule on the graph may have a section `measured`, which says what a probe makes of its findings: `confirm` and `withdraw` are conditions
over `found`, the measured layers that the finding names, and `probe`. A confirmed finding gets `message` and `evidence`; one that is
withdrawn is shown with the `reason`.

## Fixes

`fix` is the default, `alternatives` are offered beside it; the first whose `when` holds for every layer of the finding stands in where
`fix` is not offered. `change` says what is done to the layers, in a source file and in a model in memory alike; `of` and `other` name
what the pattern captured. A fix is not offered where a layer that it names was not captured, where a value it sets is unknown, or where it
would do the same as one before it.
"""

_STEPS = (
    "A word that is measured in every step stands for its median over the steps; with `_first`, `_last`, `_min` or `_max` behind it, for "
    "its value in the first or last step, or its smallest or largest one."
)


def documentation(rules: Iterable[Rule]) -> dict[str, str]:
    """Every generated page of the rules' folder, by file name."""
    ordered = sorted(rules, key=lambda rule: rule.id)
    pages = {f"{rule.id}.md": f"{MARK}\n\n{explain_markdown(rule)}" for rule in ordered}
    return {"index.md": _index(ordered), "language.md": _language(), **pages}


def write_documentation(folder: Path, rules: Iterable[Rule]) -> list[Path]:
    """Write the pages, and the schema beside the folder; pages of rules that are gone are removed.

    Returns:
        The files that changed.

    Raises:
        UsageError: the folder cannot be written.

    """
    changed = []
    pages = documentation(rules)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for page in sorted(folder.glob("*.md")):
            if page.name not in pages and page.read_text(encoding="utf-8").startswith(MARK):
                page.unlink()
                changed.append(page)
        targets = {folder / name: text for name, text in pages.items()}
        targets[folder.parent / "rule.schema.json"] = schema_text()
        for path, text in targets.items():
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8", newline="\n")
                changed.append(path)
    except OSError as error:
        raise UsageError(f"the documentation cannot be written: {error.strerror}: '{error.filename}'") from error
    return changed


def _index(rules: Sequence[Rule]) -> str:
    blocks = [MARK, "# Rules", f"{len(rules)} rules. [Expressions in rules](language.md) describes the language they are written in."]
    for prefix, members in groupby(rules, key=lambda rule: rule.id[: len(rule.id.rstrip("0123456789")) + 1]):
        rows = [
            (f"[{rule.id}]({rule.id}.md)", rule.name, rule.severity, applicabilities(rule), rule.summary.strip())
            for rule in members
        ]
        blocks += [f"## {FAMILIES.get(prefix, prefix)}", _table(("rule", "name", "severity", "fix", "summary"), rows)]
    return "\n\n".join(blocks) + "\n"


def _language() -> str:
    functions = {f"{name}()": words for name, words in _FUNCTION_WORDS.items() if name in FUNCTIONS}
    alone = sorted(OPS - {op for members in GROUPS.values() for op in members})
    sections: list[tuple[str, str]] = [
        ("Functions", _terms(functions)),
        ("Attributes of nodes", _terms({key: words for key, words in sorted(NODE.items()) if key not in ATTRIBUTES})),
        ("Attributes of operations", f"`None` where the operation has no such thing.\n\n{_terms(dict(sorted(ATTRIBUTES.items())))}"),
        ("Attributes of modules", _terms({key: words for key, words in sorted(MODULE.items()) if key not in ATTRIBUTES})),
        ("Attributes of chains", _terms(CHAIN)),
        ("`context`", _terms(CONTEXT)),
        ("`model`", _terms(MODEL)),
        ("Groups of operations", _terms({name: ", ".join(f"`{op}`" for op in members) for name, members in GROUPS.items()})),
        ("Operations in no group", ", ".join(f"`{op}`" for op in alone)),
        ("Attributes of every event", _terms(EVENT)),
        *((f"Event `{kind}`", _terms(attributes)) for kind, attributes in EVENTS.items()),
        ("Places of events", _terms(PLACES)),
        ("Attributes of measured layers", f"{_STEPS}\n\n{_terms(_typical(LAYER))}"),
        ("`probe`", f"{_STEPS}\n\n{_terms(_typical(RUN))}"),
        ("Kinds of `change`", _terms(CHANGES)),
        ("Edits of scripts", f"What `edit` of a script's `fix` may name.\n\n{_terms(EDITS)}"),
    ]
    return "\n\n".join([MARK, _LANGUAGE.rstrip(), *(f"## {title}\n\n{text}" for title, text in sections)]) + "\n"


def _typical(words: Mapping[str, str]) -> dict[str, str]:
    """Without the words for the first, last, smallest and largest value of a series; they are described once."""
    ends = ("_first", "_last", "_min", "_max")
    return {key: text for key, text in sorted(words.items()) if not (key.endswith(ends) and key.rpartition("_")[0] in words)}


def _terms(words: Mapping[str, str]) -> str:
    return "\n".join(f"- `{term}`: {text}" for term, text in words.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |", *(f"| {' | '.join(row)} |" for row in escaped)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages of the built-in rules to a folder, ``docs/rules`` by default; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    folder = Path(given[0] if given else "docs/rules")
    try:
        changed = write_documentation(folder, load_rules())
    except NormAdvisorError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stderr.write(f"{len(changed)} files changed in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
