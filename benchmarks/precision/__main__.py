"""``python -m benchmarks.precision [FAMILY ...]``: run all rules over the zoos, print every hit, exit 1 if one has no judgement.

Judgements are written by a person after reading the code at the site; they stand in ``judgements.yaml`` beside this file.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from benchmarks.report import header
from benchmarks.zoo.sweep import add_arguments, rows_for

_JUDGEMENTS = Path(__file__).with_name("judgements.yaml")
_INSTALLED = "site-packages/"


@dataclass(slots=True)
class _Hits:
    """Findings of one rule and severity at one site, in however many models."""

    models: list[str] = field(default_factory=list)
    message: str = ""


def _site(finding: Mapping[str, Any]) -> str:
    path = finding["path"] or "(no place)"
    return f"{path.rsplit(_INSTALLED, 1)[-1]}:{finding['line']}"


def _by_site(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], _Hits]:
    hits: dict[tuple[str, str, str], _Hits] = defaultdict(_Hits)
    for row in rows:
        for finding in row.get("findings", ()):
            group = hits[finding["severity"], finding["rule"], _site(finding)]
            group.models.append(f"{row['family']}:{row['name']}")
            group.message = group.message or finding["message"]
    return hits


def _judgement(judgements: Sequence[Mapping[str, str]], rule: str, site: str, text: str = "") -> str | None:
    """The reason given for a place; where a judgement names a ``text``, that of the line has to match it."""
    for judgement in judgements:
        path = fnmatch(site.rsplit(":", 1)[0], judgement["path"])
        if judgement["rule"] == rule and path and (not text) == ("text" not in judgement) and fnmatch(text, judgement.get("text", "")):
            return judgement["reason"]
    return None


def _expressions(rows: Sequence[Mapping[str, Any]], judgements: Sequence[Mapping[str, str]]) -> tuple[list[str], int]:
    """Every line that writes out what torch has a function for, with its judgement, and how many have none; alike lines are one row."""
    groups: dict[tuple[str, str, str], tuple[set[str], set[str], set[str | None]]] = defaultdict(lambda: (set(), set(), set()))
    for row in rows:
        for found in row.get("written", ()):
            if not found.get("obstacle"):
                site, text = found["root"]
                rule = "NA704" if found["computes"].endswith("_norm") else "NA705"
                sites, models, reasons = groups[rule, found["computes"], text]
                sites.add(site)
                models.add(f"{row['family']}:{row['name']}")
                reasons.add(_judgement(judgements, rule, site, text))
    lines = ["| rule | computes | result | sites | models | example | judgement |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for (rule, computes, text), (sites, models, reasons) in sorted(groups.items()):
        told = " ".join(reason or "**not judged**" for reason in sorted(reasons, key=str))
        lines.append(f"| {rule} | {computes} | `{_cell(text)[:120]}` | {len(sites)} | {len(models)} | {min(sites)} | {_cell(told)} |")
    return lines, sum(None in reasons for _, _, reasons in groups.values())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _counts(hits: Mapping[tuple[str, str, str], _Hits]) -> list[str]:
    lines = ["| rule | error: sites (models) | warning: sites (models) | info: sites (models) |", "| --- | --- | --- | --- |"]
    for rule in sorted({rule for _, rule, _ in hits}):
        cells = []
        for severity in ("error", "warning", "info"):
            groups = [group for (level, name, _), group in hits.items() if (level, name) == (severity, rule)]
            models = {model for group in groups for model in group.models}
            cells.append(f"{len(groups)} ({len(models)})" if groups else "0")
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return lines


def _judged(hits: Mapping[tuple[str, str, str], _Hits], judgements: Sequence[Mapping[str, str]]) -> tuple[list[str], int]:
    """Every error and warning with its judgement, and how many have none."""
    lines = ["| severity | rule | site | models | example | judgement |", "| --- | --- | --- | --- | --- | --- |"]
    missing = 0
    for (severity, rule, site), group in sorted(hits.items()):
        if severity != "info":
            reason = _judgement(judgements, rule, site)
            missing += reason is None
            example = _cell(f"{group.models[0]}: {group.message}")[:220]
            lines.append(f"| {severity} | {rule} | {site} | {len(group.models)} | {example} | {_cell(reason or '**not judged**')} |")
    return lines, missing


def _information(hits: Mapping[tuple[str, str, str], _Hits]) -> list[str]:
    files: dict[tuple[str, str], list[_Hits]] = defaultdict(list)
    for (severity, rule, site), group in hits.items():
        if severity == "info":
            files[rule, site.rsplit(":", 1)[0]].append(group)
    lines = ["| rule | file | sites | models | example |", "| --- | --- | --- | --- | --- |"]
    for (rule, file), groups in sorted(files.items()):
        models = {model for group in groups for model in group.models}
        lines.append(f"| {rule} | {file} | {len(groups)} | {len(models)} | {_cell(groups[0].message)[:160]} |")
    return lines


def main() -> None:
    """Measure, judge, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    add_arguments(parser)
    rows = rows_for(arguments := parser.parse_args())
    hits = _by_site(rows)
    checked = Counter(row["family"] for row in rows if row["stage"] == "done")
    judgements = yaml.safe_load(_JUDGEMENTS.read_text(encoding="utf-8"))
    judged, missing = _judged(hits, judgements)
    written, unread = _expressions(rows, judgements)
    missing += unread
    lines = [
        "Models checked: " + ", ".join(f"{family} {count}" for family, count in sorted(checked.items())) + ".",
        "",
        *_counts(hits),
        *("", "## Errors and warnings, each read", ""),
        *judged,
        *(("", "## What is written out, each expression read", "", *written) if any(row.get("written") for row in rows) else ()),
        *("", "## Information, by rule and file", ""),
        *_information(hits),
    ]
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        select = [f"--select {arguments.select}"] if arguments.select else []
        command = " ".join(["python -m benchmarks.precision", *arguments.families, *select])
        arguments.write.write_text(header("Precision on the zoos", command) + text + "\n", encoding="utf-8")
    if missing:
        print(f"{missing} sites have no judgement in {_JUDGEMENTS.name}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
