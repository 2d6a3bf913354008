"""``github``: workflow commands that GitHub Actions shows as annotations beside the code."""

from __future__ import annotations

from normadvisor.report.clean import without_surrogates
from normadvisor.report.modules import listed
from normadvisor.report.options import RenderOptions
from normadvisor.report.paths import shown
from normadvisor.report.tally import by_importance, rule_counts, summary
from normadvisor.types import Finding, Location, Problem, Report, Severity

__all__ = ["render"]

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(report: Report, options: RenderOptions) -> str:
    """One command per finding and problem, the worst first since GitHub shows ten of each kind; the summary goes to the log."""
    lines = [_problem(problem, options) for problem in report.problems]
    lines += [_finding(finding, options) for finding in by_importance(report.active)]
    for location in report.unused_noqa:
        lines.append(_command("notice", _span(location, options), "unused noqa", _in_cell(location) + "This comment suppresses nothing."))
    if options.statistics:
        lines += [f"{count.times} {_data(count.rule)} {_data(count.name)}" for count in rule_counts(report.active)]
    return without_surrogates("\n".join([*lines, summary(report, options.elapsed)]) + "\n")


def _finding(finding: Finding, options: RenderOptions) -> str:
    place, words = {}, [finding.message]
    if finding.path is not None and finding.line is not None:
        span = Location(finding.path, finding.line, finding.column or 1, finding.end_line, finding.end_column, finding.cell)
        place, words = _span(span, options), [_in_cell(span) + finding.message]
    elif finding.path is not None:
        place = {"file": shown(finding.path, options.root)}
    if finding.modules:
        words.append(f"In {listed(finding.modules)}.")
    if finding.fix:
        words.append(f"Mend: {finding.fix.description}")
    return _command(COMMANDS[finding.severity], place, f"{finding.rule} {finding.name}", "\n".join(words))


def _problem(problem: Problem, options: RenderOptions) -> str:
    place = _span(problem.location, options) if problem.location else {}
    message = (_in_cell(problem.location) if problem.location else "") + problem.message
    words = message if problem.hint is None else f"{message}\n{problem.hint}"
    return _command("error", place, f"could not check {problem.target}", words)


def _in_cell(location: Location) -> str:
    """The place in a notebook as words: GitHub would take a line for one of the JSON text."""
    return "" if location.cell is None else f"cell {location.cell}:{location.line}:{location.column}: "


def _span(location: Location, options: RenderOptions) -> dict[str, str]:
    if location.cell is not None:
        return {"file": shown(location.path, options.root)}
    end = location.end_line or location.line
    place = {"file": shown(location.path, options.root), "line": str(location.line), "col": str(location.column), "endLine": str(end)}
    # GitHub refuses end columns of annotations over several lines; its columns include the last character.
    if end == location.line and location.end_column is not None and location.end_column > location.column:
        place["endColumn"] = str(location.end_column - 1)
    return place


def _command(command: str, place: dict[str, str], title: str, message: str) -> str:
    properties = ",".join(f"{key}={_property(value)}" for key, value in {**place, "title": title}.items())
    return f"::{command} {properties}::{_data(message)}"


def _data(text: str) -> str:
    """Escaped as the runner undoes it for messages."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escaped as the runner undoes it for properties."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
