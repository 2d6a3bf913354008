"""``python -m benchmarks.coverage [FAMILY ...]``: trace every model of the zoos, print how many and how completely."""

from __future__ import annotations

import argparse
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.report import header
from benchmarks.zoo.sweep import add_arguments, rows_for

_INSTALLED = re.compile(r"/\S*/site-packages/")
_BUILDS = {"trace", "match", "done", "killed"}
_TRACED = {"match", "done"}


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.2%})" if whole else "none"


def _median_and_worst(rows: Sequence[dict[str, Any]], key: str) -> str:
    values = [row[key] for row in rows]
    return f"{statistics.median(values):.2f} / {max(values):.1f}" if values else "-"


def _summary(family: str, rows: Sequence[dict[str, Any]]) -> str:
    built = [row for row in rows if row["stage"] in _BUILDS]
    done = [row for row in rows if row["stage"] in _TRACED]
    kinds = Counter(row["trace"] for row in done)
    counted = [row for row in done if row["norms_run"] is not None]
    norms = _share(sum(row["norms_found"] for row in counted), sum(row["norms_run"] for row in counted))
    lines = _share(sum(row["nodes_with_line"] for row in done), sum(row["nodes"] for row in done))
    return (
        f"| {family} | {len(rows)} | {len(built)} | {_share(len(done), len(built))} | {kinds['symbolic']} / {kinds['execution']} "
        f"| {len(counted)} | {norms} | {lines} | {_median_and_worst(done, 'build_seconds')} | {_median_and_worst(done, 'trace_seconds')} |"
    )


def _missed(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["| family | model | reached | reason |", "| --- | --- | --- | --- |"]
    for row in rows:
        if row["stage"] not in _TRACED:
            reason = _INSTALLED.sub("", " ".join((row["error"] or "").split())).replace("|", "\\|")[:300]
            lines.append(f"| {row['family']} | {row['name']} | {row['stage']} | {reason} |")
    return lines


def _eval_only(rows: Sequence[dict[str, Any]]) -> list[str]:
    names = [f"{row['family']}:{row['name']}" for row in rows if row["stage"] in _TRACED and row["mode"] == "eval"]
    return ["", "## Traced in eval mode only", "", ", ".join(names) or "none"]


def _incomplete(rows: Sequence[dict[str, Any]]) -> list[str]:
    missed = [
        f"- {row['family']}:{row['name']}: {row['norms_found']} of {row['norms_run']} found; not {', '.join(row['missed_norms'])} ..."
        for row in rows
        if row.get("missed_norms")
    ]
    return ["", "## Norm modules that ran and were not found", "", *(missed or ["none"])]


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    add_arguments(parser)
    rows = rows_for(arguments := parser.parse_args())
    lines = [
        "Norm modules are counted by forward hooks in a plain run on the same inputs (childless modules whose class name holds `Norm`),",
        "for the models that run so; seconds are median / worst, several models at a time on one machine.",
        "",
        "| family | models | build | traced | symbolic / execution | norms counted in | norms found | with line | build, s | trace, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_summary(family, [row for row in rows if row["family"] == family]) for family in sorted({row["family"] for row in rows})),
        "",
        "## Not traced",
        "",
        *_missed(rows),
        *_eval_only(rows),
        *_incomplete(rows),
    ]
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        command = f"python -m benchmarks.coverage {' '.join(arguments.families)}".strip()
        arguments.write.write_text(header("Coverage of tracing", command) + text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
