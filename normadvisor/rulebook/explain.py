"""A rule in words: the page that ``rule explain`` shows and the documentation publishes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from normadvisor.rulebook.explain_fixes import applicabilities, explained_fixes
from normadvisor.rulebook.model import Adjustment, Example, MeasuredSide, ProbePattern, Rule
from normadvisor.rulebook.readable import readable

__all__ = ["explain_markdown", "first_sentence", "readable"]

_SCOPES = {"graph": "the traced model", "script": "the source", "probe": "a measurement"}


def first_sentence(text: str) -> str:
    """Text up to its first full stop."""
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0]


def explain_markdown(rule: Rule) -> str:
    """The rule as a Markdown page: what it does, why, numbers and sources, exemptions, examples, and what its fix changes."""
    blocks = [*_head(rule), *_what(rule), "## Why", rule.why.strip(), *_sources(rule), *_exemptions(rule)]
    for title, examples in (("Bad", rule.examples.bad), ("Good", rule.examples.good), ("Fixed", rule.examples.fixed)):
        if examples:
            blocks.append(f"## {title}")
            for example in examples:
                blocks += _example(example)
    blocks += explained_fixes(rule)
    return "\n\n".join(blocks) + "\n"


def _head(rule: Rule) -> Iterator[str]:
    yield f"# {rule.name} ({rule.id})"
    fix = applicabilities(rule) or "none"
    yield (
        f"Severity **{rule.severity}** · looks at {_SCOPES[rule.scope]}{' and the source' if rule.script else ''} · {rule.confidence}"
        f" · fix: {fix}"
        f"{' · one finding per model' if rule.report == 'model' else ''}"
    )


def _what(rule: Rule) -> Iterator[str]:
    yield "## What it does"
    yield f"{rule.summary.strip()}."
    yield f"> {' '.join(readable(rule.message).split())}"
    if isinstance(rule.pattern, ProbePattern):
        yield from _measured_pattern(rule, rule.pattern)
    elif rule.when:
        yield f"Runs where `{_flat(rule.when)}`."
    if rule.adjust:
        yield "\n".join(_adjustments(rule.adjust))
    if rule.measured is not None:
        yield "\n".join(_judgement(rule.measured))
    if rule.explained_by:
        yield f"Refers to {_joined(rule.explained_by)} where one of them speaks on the same layers."
    if rule.script is not None:
        side = rule.script
        words = [str(word) for word in (side.severity, side.confidence) if word is not None]
        yield f"In a script ({', '.join(words)}):"
        yield f"> {' '.join(readable(side.message).split())}"
        if side.when:
            yield f"Runs where `{_flat(side.when)}`."
        if side.adjust:
            yield "\n".join(_adjustments(side.adjust))
    if rule.silenced_by:
        where = "at the same place or for the same cause" if rule.scope == "script" else "on the same layer"
        yield f"Gives way to {_joined(rule.silenced_by)} {where}."


def _measured_pattern(rule: Rule, pattern: ProbePattern) -> Iterator[str]:
    """When a rule about measurements speaks, with its thresholds."""
    conditions = [*([f"`{_flat(rule.when)}`"] if rule.when else []), f"`{_flat(pattern.where)}`"]
    what = f"Speaks of a layer `{pattern.layer}`" if pattern.layer else "Speaks of the run"
    ops = [pattern.op] if isinstance(pattern.op, str) else pattern.op
    kind = "" if pattern.layer is None or ops == ["any"] else f" ({', '.join(ops)})"
    yield f"{what}{kind} where {' and '.join(conditions)}."
    if rule.define.values:
        yield "\n".join(["There", "", *(f"- `{name}` is `{_flat(text)}`" for name, text in rule.define.values.items())])


def _judgement(side: MeasuredSide) -> Iterator[str]:
    """What a probe makes of the findings."""
    yield "A probe of the model decides, over the layers `found` that the finding names:"
    yield ""
    if side.confirm is not None:
        yield f"- **confirmed** where `{_flat(side.confirm)}`{_told(side.message)}"
    if side.withdraw is not None:
        yield f"- **withdrawn** where `{_flat(side.withdraw)}`{_told(side.reason)}"


def _told(text: str | None) -> str:
    return f": {' '.join(readable(text).split())}" if text else ""


def _adjustments(changes: Iterable[Adjustment]) -> Iterator[str]:
    for change in changes:
        words = [str(word) for word in (change.severity, change.confidence) if word is not None]
        said = f"**{', '.join(words)}**" if words else "Said differently"
        text = f": {' '.join(readable(change.message).split())}" if change.message else ""
        yield f"- {said} where `{_flat(change.when)}`{text}"


def _sources(rule: Rule) -> Iterator[str]:
    yield "## Numbers and sources"
    lines = []
    for reference in rule.references:
        title = f"[{reference.title}]({reference.url})" if reference.url else reference.title
        lines.append(f"- {title}{f': {_flat(reference.claim)}' if reference.claim else ''}")
    yield "\n".join(lines)


def _exemptions(rule: Rule) -> Iterator[str]:
    yield "## Exemptions"
    yield "\n".join(f"- {_flat(item)}" for item in rule.exempt) if rule.exempt else "None."


def _example(example: Example) -> Iterator[str]:
    if example.note:
        yield _flat(example.note)
    code = example.code.rstrip("\n")
    fence = "```"
    while fence in code:
        fence += "`"
    yield f"{fence}python\n{code}\n{fence}"
    told = []
    if example.expect:
        parts = (item.partition(":") for item in example.expect)
        places = [f"line {line} ({severity})" if severity else f"line {line}" for line, _, severity in parts]
        told.append(f"Reported: {_joined(places)}.")
    if example.inputs:
        told.append(f"Inputs: {', '.join(f'`{item}`' for item in example.inputs)}.")
    if example.context:
        settings = (f"`{key} = {str(value).lower() if isinstance(value, bool) else value}`" for key, value in example.context.items())
        told.append(f"Context: {', '.join(settings)}.")
    if example.probe:
        told.append(f"Probed with {', '.join(f'`{key} = {value}`' for key, value in example.probe.items())}.")
    elif example.scope == "probe":
        told.append("Probed.")
    if told:
        yield " ".join(told)


def _flat(text: str) -> str:
    """Text on one line."""
    return " ".join(text.split())


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
