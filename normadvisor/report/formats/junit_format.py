"""``junit``: XML for CI servers that show test results. A model, or a file without models, is a test case."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET  # only written, never parsed

from normadvisor.report.clean import one_line, short
from normadvisor.report.modules import listed
from normadvisor.report.options import RenderOptions
from normadvisor.report.paths import place_of, place_of_finding, place_of_related, shown
from normadvisor.report.tally import by_importance, counted, rule_counts
from normadvisor.types import Finding, Problem, Report

__all__ = ["render"]

# What XML 1.0 cannot hold, even escaped.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True)
class _Case:
    failures: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    """Message and details."""


def render(report: Report, options: RenderOptions) -> str:
    """One suite; findings at or above ``fail_on`` are failures, those below are output of the test, problems are errors."""
    cases = _cases(report, options)
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(bool(case.failures) for case in cases.values())),
        "errors": str(sum(bool(case.errors) for case in cases.values())),
    }
    time = {} if options.elapsed is None else {"time": f"{options.elapsed:.3f}"}
    root = ET.Element("testsuites", {"name": "normadvisor", **counts, **time})
    suite = ET.SubElement(root, "testsuite", {"name": "normadvisor", **counts, "skipped": "0", **time})
    if options.statistics:
        properties = ET.SubElement(suite, "properties")
        for count in rule_counts(report.active):
            ET.SubElement(properties, "property", {"name": _legal(count.rule), "value": str(count.times)})
    for name, case in cases.items():
        _write(suite, name, case, options)
    ET.indent(root)
    body: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=False)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + body.decode("ascii") + "\n"


def _cases(report: Report, options: RenderOptions) -> dict[str, _Case]:
    cases = {model.target: _Case() for model in report.models}
    for finding in by_importance(report.active):
        name = finding.model if finding.model is not None else shown(finding.path, options.root) if finding.path else "normadvisor"
        case = cases.setdefault(name, _Case())
        (case.failures if finding.severity.rank >= options.fail_on.rank else case.remarks).append(finding)
    for problem in report.problems:
        cases.setdefault(problem.target, _Case()).errors.append((problem.message, _explained(problem, options)))
    for model in report.models:
        if model.error is not None and not cases[model.target].errors:
            cases[model.target].errors.append((model.error, model.error))
    return cases


def _write(suite: ET.Element, name: str, case: _Case, options: RenderOptions) -> None:
    element = ET.SubElement(suite, "testcase", {"classname": "normadvisor", "name": _legal(name)})
    for message, details in case.errors:
        ET.SubElement(element, "error", {"message": _legal(message), "type": "could-not-check"}).text = _legal(details)
    if case.failures:
        # One element with all of them: several consumers read only the first.
        kinds = ", ".join(dict.fromkeys(finding.rule for finding in case.failures))
        message = f"{counted(len(case.failures), 'finding')}: {kinds}"
        failure = ET.SubElement(element, "failure", {"message": _legal(message), "type": str(case.failures[0].severity)})
        failure.text = _legal("\n\n".join(_described(finding, options) for finding in case.failures))
    if case.remarks:
        ET.SubElement(element, "system-out").text = _legal("\n\n".join(_described(finding, options) for finding in case.remarks))


def _described(finding: Finding, options: RenderOptions) -> str:
    where = place_of_finding(finding, options.root)
    lines = [f"{where}: {finding.rule} {finding.name} [{finding.severity}, {finding.confidence}]", finding.message]
    if finding.modules:
        lines.append(f"in: {listed(finding.modules)}")
    lines += [f"{one_line(key)}: {short(value)}" for key, value in finding.evidence.items()]
    lines += [f"see: {place_of_related(other, options.root)} {other.message}" for other in finding.related]
    if finding.fix:
        lines.append(f"mend: {finding.fix.description}")
    return "\n".join(lines)


def _explained(problem: Problem, options: RenderOptions) -> str:
    lines = [problem.message]
    if problem.location:
        lines.append(f"at: {place_of(problem.location, options.root)}")
    if problem.hint:
        lines.append(f"help: {problem.hint}")
    if problem.details and options.debug:
        lines.append(problem.details)
    return "\n".join(lines)


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)
