"""``markdown``: for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from normadvisor.report.clean import one_line, short
from normadvisor.report.mends import kind_of, titled
from normadvisor.report.modules import listed
from normadvisor.report.options import RenderOptions
from normadvisor.report.paths import place_of, place_of_finding, place_of_related
from normadvisor.report.tally import by_importance, rule_counts, summary
from normadvisor.types import Applicability, Finding, Fix, Problem, Report, Severity

__all__ = ["code_span", "plain_text", "problem_line", "render"]

ICONS = {Severity.ERROR: "\U0001f534", Severity.WARNING: "\U0001f7e1", Severity.INFO: "\U0001f535"}
MOST_CHARACTERS = 60_000
"""GitHub refuses comments of more than 65,536 characters; what does not fit is counted instead."""
# What means something anywhere in a line, and what means something at its beginning only.
_ACTIVE = re.compile(r"([\\`*\[\]<>#|~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_QUOTED = re.compile(r"(?<!`)`([^`\s](?:[^`]*[^`\s])?)`(?!`)")
_LEADING = re.compile(r"^(\d{0,9})([-+=.)])")


def render(report: Report, options: RenderOptions) -> str:
    """Summary, a table of findings, what could not be checked, and the details folded away."""
    findings = by_importance(report.active)
    parts = [f"**normadvisor**: {_prose(summary(report, options.elapsed))}"]
    if report.problems:
        parts.append("\n".join(problem_line(problem, options) for problem in report.problems))
    if findings:
        parts.append(_fitting(_rows(findings, options), "\n", MOST_CHARACTERS // 2, len(findings) + 2))
    if options.statistics and findings:
        rows = [f"| {count.times} | {code_span(count.rule)} | {plain_text(count.name)} |" for count in rule_counts(report.active)]
        parts.append("\n".join(["| Count | Rule | Name |", "| ---: | --- | --- |", *rows]))
    if report.unused_noqa:
        places = ", ".join(code_span(place_of(location, options.root)) for location in report.unused_noqa[:50])
        parts.append(f"Unused `noqa` comments: {places}")
    if findings:
        left = MOST_CHARACTERS - sum(len(part) + 2 for part in parts)
        parts.append(_fitting((_details(finding, options) for finding in findings), "\n\n", left, len(findings)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _fitting(pieces: Iterator[str], joint: str, room: int, total: int) -> str:
    """As many pieces as fit into ``room`` characters, and how many did not."""
    kept: list[str] = []
    for piece in pieces:
        room -= len(piece) + len(joint)
        if room < 0:
            return joint.join(kept) + f"\n\n\u2026 and {total - len(kept)} more that did not fit here."
        kept.append(piece)
    return joint.join(kept)


def _rows(findings: list[Finding], options: RenderOptions) -> Iterator[str]:
    yield "| | Rule | Place | Finding |"
    yield "| --- | --- | --- | --- |"
    for finding in findings:
        icon = f"{ICONS[finding.severity]} {finding.severity}"
        rule = f"{code_span(finding.rule)} {plain_text(finding.name)}"
        yield f"| {icon} | {rule} | {code_span(_where(finding, options))} | {_prose(finding.message)} |"


def _where(finding: Finding, options: RenderOptions) -> str:
    return place_of_finding(finding, options.root)


def _details(finding: Finding, options: RenderOptions) -> str:
    title = f"{_html(finding.rule)} {_html(finding.name)} at <code>{_html(_where(finding, options))}</code>"
    lines = [f"<details><summary>{title}</summary>", "", _prose(finding.message), ""]
    lines.append(f"- confidence: {finding.confidence}")
    if finding.model:
        lines.append(f"- model: {code_span(finding.model)}")
    if finding.modules:
        lines.append(f"- in: {code_span(listed(finding.modules))}")
    lines += [f"- {plain_text(key)}: {code_span(short(value))}" for key, value in finding.evidence.items()]
    lines += [f"- see {code_span(place_of_related(other, options.root))}: {_prose(other.message)}" for other in finding.related]
    if finding.fix:
        kind = "" if finding.fix.applicability is Applicability.DISPLAY else f" ({kind_of(finding.fix)})"
        lines += [f"- mend{kind}: {_prose(titled(finding.fix))}", *_trade_off(finding.fix)]
        for fix in finding.alternatives:
            lines += [f"- or ({kind_of(fix)}): {_prose(titled(fix))}", *_trade_off(fix)]
    return "\n".join([*lines, "", "</details>"])


def _trade_off(fix: Fix) -> list[str]:
    return [f"  - trade-off: {_prose(fix.trade_off)}"] if fix.trade_off else []


def problem_line(problem: Problem, options: RenderOptions, verb: str = "check") -> str:
    """A list item: what could not be done, and why."""
    where = f" at {code_span(place_of(problem.location, options.root))}" if problem.location else ""
    hint = f" ({_prose(problem.hint)})" if problem.hint else ""
    return f"- **could not {verb}** {code_span(problem.target)}{where}: {_prose(problem.message)}{hint}"


def _prose(text: str) -> str:
    """A sentence in which names in backquotes become code."""
    pieces = _QUOTED.split(one_line(text))
    # Joined before the beginning of the line is looked at, so that a piece in the middle is not taken for one.
    joined = "".join(code_span(piece) if number % 2 else _inline(piece) for number, piece in enumerate(pieces))
    return _LEADING.sub(r"\1\\\2", joined)


def plain_text(text: str) -> str:
    """Text that Markdown shows as it is: no emphasis, no HTML, no table cell, and nobody mentioned."""
    return _LEADING.sub(r"\1\\\2", _inline(one_line(text)))


def _inline(line: str) -> str:
    # GitHub looks for @names and #numbers after it has undone escapes; an empty comment between keeps it from finding them.
    return _ACTIVE.sub(r"\\\1", line).replace("@", "@<!-- -->").replace("\\#", "\\#<!-- -->")


def code_span(text: str) -> str:
    """A code span, usable inside a table cell, whatever it holds."""
    line = one_line(text).replace("|", "\u2223")  # a cell cannot hold the ASCII bar in a code span everywhere
    if not line:
        return "` `"
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _html(text: str) -> str:
    return "".join(f"&#{ord(char)};" if char in "&<>\"'@#*_`[]\\|" else char for char in one_line(text))
