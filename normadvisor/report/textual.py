"""The blocks of the ``text`` format as lines of rich text, each block separated from the next by an empty line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from normadvisor.report.clean import can_draw, one_line, printable, short
from normadvisor.report.frame import SourceLines, Span, code_frame
from normadvisor.report.mends import kind_of, other_ways, titled
from normadvisor.report.modules import listed
from normadvisor.report.options import RenderOptions
from normadvisor.report.paths import place_of, place_of_finding, place_of_related
from normadvisor.report.tally import by_importance, rule_counts, summary
from normadvisor.types import Applicability, Finding, Location, Problem, Report, Severity, Withdrawn

__all__ = ["blocks", "problem_lines"]

COLORS = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold cyan"}
LABEL = 10
"""Columns of the words before what is said about a finding."""
INDENT = 2
MOST_EVIDENCE = 12
MOST_RELATED = 4


def blocks(report: Report, options: RenderOptions, width: int) -> Iterator[list[Text]]:
    """Everything that is printed, the most important finding first, the summary last."""
    writer = _Writer(options, width, several=len(report.models) > 1)
    yield from (writer.graph(graph) for graph in report.graphs)
    yield from (writer.finding(finding) for finding in by_importance(report.active))
    yield from (writer.withdrawn(item) for item in report.withdrawn)
    yield from (writer.problem(problem) for problem in report.problems)
    if report.unused_noqa:
        yield [writer.unused(location) for location in report.unused_noqa]
    if options.statistics and report.active:
        yield list(_statistics(report))
    failed = bool(report.problems) or any(finding.severity.rank >= options.fail_on.rank for finding in report.active)
    judged = sum(rule.scope == "probe" for rule in options.rules.values())
    yield [Text(summary(report, options.elapsed, judged=judged), style="bold red" if failed else "bold" if report.active else "bold green")]


def problem_lines(report: Report, options: RenderOptions, width: int, verb: str = "check") -> Iterator[list[Text]]:
    """What could not be done, a block per problem.

    Args:
        report: with problems.
        options: as for :func:`blocks`.
        width: of the lines.
        verb: what could not be done.

    """
    writer = _Writer(options, width, several=len(report.models) > 1)
    yield from (writer.problem(problem, verb) for problem in report.problems)


def _statistics(report: Report) -> Iterator[Text]:
    counts = rule_counts(report.active)
    digits = len(str(counts[0].times))
    column = max(len(count.rule) for count in counts)
    for count in counts:
        yield Text.assemble(
            (f"{count.times:>{digits}}", "bold"), f"  {one_line(count.rule):<{column}}  ", (f"{count.severity:<7}", COLORS[count.severity]),
            f"  {one_line(count.name)}",
        )  # fmt: skip


class _Writer:
    """Writes findings and problems at one width."""

    def __init__(self, options: RenderOptions, width: int, *, several: bool) -> None:
        self.options = options
        self.width = width
        self.several = several
        self.sources = SourceLines(options.root)
        self.bar, self.ellipsis = ("\u2502", "\u2026") if can_draw(options.encoding) else ("|", "...")
        self.wrapper = Console(width=width, _environ={})

    def graph(self, table: str) -> list[Text]:
        """A table line by line; at a terminal no line is longer than the terminal is wide."""
        lines = [Text.from_ansi(line) for line in table.rstrip("\n").split("\n")]
        if not self.options.terminal or all(line.cell_len <= self.width for line in lines):
            return lines
        for line in lines:
            if line.cell_len > self.width:
                line.truncate(self.width - len(self.ellipsis))
                line.append(self.ellipsis)
        return [*lines, Text("lines are cut at the width of the terminal; --output FILE or a pipe gets them whole", style="dim")]

    def finding(self, finding: Finding) -> list[Text]:
        """Header, reason, code, and what is known about it."""
        code = self._code(finding)
        lines = [*self._header(finding), *self._wrapped(Text(one_line(finding.message), style="bold"), INDENT)]
        if code:
            lines += [Text(), *code, Text()]
        return lines + self._facts(finding)

    def withdrawn(self, item: Withdrawn) -> list[Text]:
        """A finding that does not hold, and the measurement that says so."""
        where = one_line(place_of_finding(item.finding, self.options.root))
        lines = [Text.assemble(where, "  ", (f"{one_line(item.finding.rule)} {one_line(item.finding.name)}  [withdrawn]", "dim"))]
        lines += self._wrapped(Text(one_line(item.reason)), INDENT)
        return lines + (self._fact("in", [listed(item.finding.modules)]) if item.finding.modules else [])

    def _header(self, finding: Finding) -> list[Text]:
        where = place_of_finding(finding, self.options.root)
        location = Text(one_line(where), style="underline" if self.options.color else "")
        verdict = Text.assemble(
            (one_line(finding.rule), COLORS[finding.severity]), " ", one_line(finding.name),
            "  [", (finding.severity.value, COLORS[finding.severity]), f", {finding.confidence}]",
        )  # fmt: skip
        if location.cell_len + 2 + verdict.cell_len <= self.width:
            return [Text.assemble(location, "  ", verdict)]
        return [location, *self._wrapped(verdict, INDENT)]

    def _code(self, finding: Finding) -> list[Text]:
        if finding.path is None or finding.line is None:
            return []
        span = Span(finding.line, finding.column, finding.end_line, finding.end_column)
        digits = len(str((finding.end_line or finding.line) + 1))
        gutter = INDENT + 2 + digits + 3
        frame = code_frame(self.sources.of(finding.path, finding.cell), span, self.width - gutter, ellipsis=self.ellipsis)
        lines = []
        for line in frame:
            number = "" if line.number is None else str(line.number)
            pointer = ("> ", COLORS[finding.severity]) if line.marked else "  "
            lines.append(Text.assemble(" " * INDENT, pointer, (f"{number:>{digits}} {self.bar} ", "dim"), line.text))
            if line.underline:
                start, length = line.underline
                under = ("^" * length, COLORS[finding.severity])
                lines.append(Text.assemble(" " * (gutter - 2), (f"{self.bar} ", "dim"), " " * start, under))
        return lines

    def _facts(self, finding: Finding) -> list[Text]:
        lines: list[Text] = []
        if finding.modules:
            lines += self._fact("in", [listed(finding.modules)])
        if self.several and finding.model and finding.path:
            lines += self._fact("model", [one_line(finding.model)])
        evidence = [f"{one_line(key)}: {short(value)}" for key, value in finding.evidence.items()]
        lines += self._fact("evidence", self._some(evidence, MOST_EVIDENCE))
        related = [f"{place_of_related(other, self.options.root)} {other.message}" for other in finding.related]
        lines += self._fact("see", self._some([one_line(text) for text in related], MOST_RELATED))
        if finding.fix:
            kind = "" if finding.fix.applicability is Applicability.DISPLAY else f"({kind_of(finding.fix)}) "
            lines += self._fact("mend", [kind + one_line(titled(finding.fix))], style="green")
            lines += self._fact("or", [one_line(text) for text in other_ways(finding)], style="green")
        return lines

    def _some(self, items: list[str], most: int) -> list[str]:
        if len(items) <= most:
            return items
        return [*items[:most], f"{self.ellipsis} and {len(items) - most} more"]

    def _fact(self, label: str, items: Iterable[str], style: str = "") -> list[Text]:
        lines = [line for item in items for line in self._wrapped(Text(item, style=style), INDENT + LABEL)]
        if lines:
            lines[0] = Text.assemble(" " * INDENT, (f"{label:<{LABEL}}", "dim"), lines[0][INDENT + LABEL :])
        return lines

    def _wrapped(self, text: Text, indent: int) -> list[Text]:
        lines = text.wrap(self.wrapper, max(20, self.width - indent))
        for line in lines:
            line.rstrip()
        return [Text.assemble(" " * indent, line) for line in lines]

    def problem(self, problem: Problem, verb: str = "check") -> list[Text]:
        """What could not be done, why, and what to do about it."""
        lines = [Text.assemble((f"could not {verb} ", COLORS[Severity.ERROR]), (one_line(problem.target), "bold"))]
        for line in problem.message.splitlines():
            lines += self._wrapped(Text(one_line(line)), INDENT + (2 if line.startswith(" ") else 0))
        if problem.location:
            lines += self._fact("at", [one_line(place_of(problem.location, self.options.root))])
        if problem.hint:
            lines += self._fact("help", [one_line(problem.hint)], style="green")
        if problem.details and self.options.debug:
            details = problem.details.rstrip().expandtabs().splitlines()
            lines += [Text(" " * (INDENT + 2) + printable(line), style="dim") for line in details]
        return lines

    def unused(self, location: Location) -> Text:
        """A comment that suppresses nothing, with its own words."""
        text = self.sources.of(location.path, location.cell)
        words = ""
        if location.line <= len(text) and location.end_column and location.end_line in {None, location.line}:
            words = one_line(text[location.line - 1][location.column - 1 : location.end_column - 1])
        where = one_line(place_of(location, self.options.root))
        return Text.assemble(where, "  ", ("unused noqa", COLORS[Severity.INFO]), f": {words}" if words else "")
