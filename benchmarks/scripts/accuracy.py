"""``python -m benchmarks.scripts.accuracy [NAME ...]``: run the checker over the labelled corpus and compare; exit 1 if it falls short.

Names of entries restrict the run to these. ``--write`` puts the tables into the results file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.scripts.compare import Comparison, compare
from benchmarks.scripts.findings import Finding, check
from benchmarks.scripts.labels import CORPUS, Label, Script, corpus
from benchmarks.scripts.results import write_section

__all__ = ["LEAST_RECALL", "main", "measure"]

LEAST_RECALL = 0.95


def measure(scripts: Sequence[Script]) -> tuple[Comparison, tuple[str, ...]]:
    """Check the entries in one run; the comparison and what could not be checked."""
    report = check(CORPUS, [script.name for script in scripts])
    return compare([label for script in scripts for label in script.labels], report.findings), report.problems


def _share(value: float, made: int) -> str:
    return f"{value:.3f}" if made else "-"


def _row(name: str, part: Comparison) -> str:
    expected, made = len(part.met) + len(part.missed), len(part.met) + len(part.false)
    recall, precision = _share(part.recall, expected), _share(part.precision, made)
    cells = (name, expected, len(part.met), len(part.missed), len(part.false), recall, precision, len(part.remarks))
    return f"| {' | '.join(map(str, cells))} |"


def _source(item: Label | Finding) -> str:
    if item.cell:
        return ""
    lines = (CORPUS / item.path).read_text(encoding="utf-8").splitlines()
    return lines[item.line - 1].strip() if 0 < item.line <= len(lines) else ""


def _table(scripts: Sequence[Script], comparison: Comparison) -> list[str]:
    files = [path for script in scripts for path in script.files]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    clean = sum(script.clean for script in scripts)
    return [
        f"{len(scripts)} entries ({clean} clean, {len(scripts) - clean} with faults), {len(files)} files, {lines:,} lines.",
        "",
        "| rule | expected | found | missed | false alarms | recall | precision | information beyond the labels |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        _row("all", comparison),
        *(_row(rule, comparison.of(rule)) for rule in comparison.rules()),
    ]


def _details(comparison: Comparison, problems: Sequence[str]) -> list[str]:
    lines = []
    if comparison.missed:
        lines += ["", "### Missed", "", *(f"- {label.rule} {label.place}: `{_source(label)}`" for label in comparison.missed)]
    if comparison.false:
        told = (f"- {alarm.severity} {alarm.rule} {alarm.place}: `{_source(alarm)}`: {alarm.message}" for alarm in comparison.false)
        lines += ["", "### False alarms", "", *told]
    if problems:
        lines += ["", "### Not checked", "", *(f"- {problem}" for problem in problems)]
    return lines


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts.accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", help="entries of the corpus; all by default")
    parser.add_argument("--remarks", action="store_true", help="list the information beyond the labels as well")
    parser.add_argument("--write", action="store_true", help="write the section into the results file")
    arguments = parser.parse_args()
    scripts = [script for script in corpus() if not arguments.names or script.name in arguments.names]
    comparison, problems = measure(scripts)
    text = "\n".join([*_table(scripts, comparison), *_details(comparison, problems)])
    print(text)
    if arguments.remarks:
        print("\n".join(["", *(f"- {one.rule} {one.place}: `{_source(one)}`: {one.message}" for one in comparison.remarks)]))
    if arguments.write:
        write_section("Accuracy on the corpus", "python -m benchmarks.scripts.accuracy --write", text)
    sys.exit(comparison.recall < LEAST_RECALL or comparison.precision < 1 or bool(problems))


if __name__ == "__main__":
    main()
