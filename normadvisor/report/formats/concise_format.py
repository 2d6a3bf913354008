"""``concise``: one line per finding, for editors and for grep."""

from __future__ import annotations

from collections.abc import Iterator

from normadvisor.report.clean import one_line
from normadvisor.report.modules import listed
from normadvisor.report.options import RenderOptions
from normadvisor.report.paths import place_of, place_of_finding
from normadvisor.report.tally import by_place, rule_counts, summary
from normadvisor.types import Report

__all__ = ["render"]


def render(report: Report, options: RenderOptions) -> str:
    """``path:line:column: NA102 [warning] message [in modules]`` per finding, in the order of the files, and the summary."""
    return "\n".join([*_lines(report, options), summary(report, options.elapsed)]) + "\n"


def _lines(report: Report, options: RenderOptions) -> Iterator[str]:
    root = options.root
    for finding in by_place(report.active):
        where = place_of_finding(finding, root)
        modules = f" [in {listed(finding.modules, 2)}]" if finding.modules else ""
        yield one_line(f"{where}: {finding.rule} [{finding.severity}] {finding.message}") + modules
    for problem in report.problems:
        where = place_of(problem.location, root) if problem.location else problem.target
        hint = f" ({problem.hint})" if problem.hint else ""
        yield one_line(f"{where}: could not check {problem.target}: {problem.message}{hint}")
    for location in report.unused_noqa:
        yield one_line(f"{place_of(location, root)}: unused noqa")
    if options.statistics:
        for count in rule_counts(report.active):
            yield one_line(f"{count.times} {count.rule} {count.name}")
