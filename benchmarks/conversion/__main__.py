"""``python -m benchmarks.conversion``: convert every BatchNorm of torchvision and timm to GroupNorm, and compare with Opacus.

All models are converted on the ``meta`` device. Those of torchvision and the smallest of each of timm's files are built with numbers and
converted by both tools. Opacus is taken from ``--opacus FOLDER`` (``pip install --target FOLDER --no-deps opacus opt_einsum``).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.report import header
from benchmarks.zoo.isolated import run_isolated
from benchmarks.zoo.names import Entry, entries

_MEMORY = 8 * 2**30
_FAMILIES = ("torchvision", "timm")
_TOOLS = ("normadvisor", "opacus")
_MOST_SECONDS = 240.0

_Rows = list[dict[str, Any]]


def _slice(rows: _Rows) -> list[Entry]:
    """All of torchvision, and of timm the model with the fewest norms of each file that has any."""
    import timm  # noqa: PLC0415 - after the arguments are read
    from timm.models import _registry  # noqa: PLC0415 - as above

    having = [row for row in rows if row.get("layers")]
    known = {(entry.family, entry.name): entry for family in _FAMILIES for entry in entries(family)}
    chosen = [known["torchvision", row["name"]] for row in having if row["family"] == "torchvision"]
    smallest: dict[str, dict[str, Any]] = {}
    for row in having:
        if row["family"] == "timm" and timm.is_model(row["name"]):
            module = _registry._model_to_module[row["name"]]  # noqa: SLF001 - nothing public tells
            if module not in smallest or row["layers"] < smallest[module]["layers"]:
                smallest[module] = row
    chosen += [known["timm", row["name"]] for row in smallest.values()]
    layers = {(row["family"], row["name"]): row["layers"] for row in having}
    return sorted(chosen, key=lambda entry: layers[entry.family, entry.name])


def _measured(function: Callable[[Entry], dict[str, Any]], chosen: Sequence[Entry], arguments: argparse.Namespace, kind: str) -> _Rows:
    """Rows of a function, those that were kept before among them."""
    path: Path | None = arguments.rows and arguments.rows.with_suffix(f".{kind}.jsonl")
    rows: _Rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path and path.exists() else []
    known = {(row["family"], row["name"]) for row in rows}
    left = [entry for entry in chosen if (entry.family, entry.name) not in known]
    started = time.monotonic()
    for outcome in run_isolated(function, left, jobs=arguments.jobs, timeout=_MOST_SECONDS, memory=_MEMORY):
        entry = outcome.argument
        row = outcome.value or {"family": entry.family, "name": entry.name, "error": outcome.error}
        rows.append(row)
        if path:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        print(f"{kind} {entry.family} {entry.name} {row.get('error', '')}", file=sys.stderr)
        if arguments.seconds is not None and time.monotonic() - started > arguments.seconds:
            break
    return rows


def _coverage(rows: _Rows) -> list[str]:
    lines = [
        "| zoo | models | with BatchNorm | converted whole | layers | converted | activations kept |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for family in _FAMILIES:
        mine = [row for row in rows if row["family"] == family]
        having = [row for row in mine if row.get("layers")]
        layers, left = sum(row["layers"] for row in having), sum(row["left"] for row in having)
        whole, kept = sum(not row["left"] for row in having), sum(row["activations"] for row in having)
        lines.append(f"| {family} | {len(mine)} | {len(having)} | {whole} | {layers} | {layers - left} | {kept} of {len(having)} |")
    failed = [f"{row['family']} {row['name']}: {row['error']}" for row in rows if "error" in row]
    remaining = [f"{row['family']} {row['name']}: {row['skipped']}" for row in rows if row.get("left")]
    return [*lines, *_listed("Could not be built", failed), *_listed("Not converted whole", remaining)]


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{title}:", "", *(f"- {line}" for line in lines)] if lines else []


def _comparison(rows: _Rows) -> list[str]:
    lines = ["| | " + " | ".join(_TOOLS) + " |", "| --- | --- | --- |"]
    for family in _FAMILIES:
        having = [row for row in rows if row["family"] == family and row.get("layers")]
        layers = sum(row["layers"] for row in having)
        runs = {tool: [row[tool] for row in having if "error" not in row[tool]] for tool in _TOOLS}
        whole = {tool: sum(not run["left"] for run in runs[tool]) for tool in _TOOLS}
        lines.append(f"| {family}: models with BatchNorm | {len(having)} | {len(having)} |")
        lines.append(_line(f"{family}: raised an error", {tool: len(having) - len(runs[tool]) for tool in _TOOLS}, ""))
        lines.append(_line(f"{family}: models without any BatchNorm afterwards", whole, f" of {len(having)}"))
        for key, told in (("converted", "layers converted"), ("eps", "eps kept"), ("affine", "weight and bias kept")):
            lines.append(_line(f"{family}: {told}", {tool: sum(run[key] for run in runs[tool]) for tool in _TOOLS}, f" of {layers}"))
        for key, told in (("activations", "all other layers kept"), ("optimizer", "an optimizer that holds the parameters")):
            counts = {tool: sum(run[key] for run in runs[tool]) for tool in _TOOLS}
            lines.append(_line(f"{family}: models with {told}", counts, f" of {len(having)}"))
    return lines


def _line(title: str, counts: dict[str, int], after: str) -> str:
    return f"| {title} | " + " | ".join(f"{counts[tool]}{after}" for tool in _TOOLS) + " |"


def _times(rows: _Rows) -> list[str]:
    pairs = [pair for row in rows for pair in row.get("seconds", ())]
    if len(pairs) < 2:
        return ["No times."]
    ratios = [theirs / own for own, theirs in pairs]
    low, middle, high = quantiles(ratios, n=4)
    own, theirs = (median(times) for times in zip(*pairs, strict=True))
    text = (
        f"{len(pairs)} pairs in turn, each on a fresh copy of the model. Median {own * 1000:.1f} ms (normadvisor, in place) and "
        f"{theirs * 1000:.1f} ms (Opacus, which copies the model first); Opacus takes {middle:.1f} times as long (quartiles {low:.1f} and "
        f"{high:.1f})."
    )
    return [text]


def _frozen(rows: _Rows) -> list[str]:
    found = {f"{row['family']} {row['name']}": row["frozen"] for row in rows if row.get("layers") and row["frozen"] is not None}
    exact = sum(value == 0 for value in found.values())
    lines = [f"{len(found)} of these models were run in eval mode before and after: {exact} give the same numbers, bit for bit."]
    return lines + _listed("Others", [f"{name}: {value:.3g}" for name, value in found.items() if value != 0])


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conversion", description=__doc__)
    parser.add_argument("--opacus", type=Path, required=True, help="folder that Opacus is installed in")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, help="for each of the two parts; models with few norms come first")
    parser.add_argument("--rows", type=Path, help="beginning of the names of files that keep what was measured")
    parser.add_argument("--write", type=Path, help="markdown file to write")
    arguments = parser.parse_args()
    sys.path.append(str(arguments.opacus))
    opacus = importlib.import_module("opacus")
    import torch  # noqa: PLC0415 - after the arguments are read

    from benchmarks.conversion.measure import compare, cover  # noqa: PLC0415 - as above

    torch.set_num_threads(1)
    for family in _FAMILIES:
        importlib.import_module(family)  # Once, before processes are forked.
    importlib.import_module("opacus.validators")
    chosen = [entry for family in _FAMILIES for entry in entries(family) if arguments.only in entry.name]
    covered = _measured(cover, chosen, arguments, "cover")
    both = _slice(covered)
    compared = _measured(compare, both, arguments, "compare")
    lines = [
        *("## Coverage: every model, converted to GroupNorm", "", *_coverage(covered)),
        *("", f"## Beside Opacus {opacus.__version__}", ""),
        f"The slice is all of torchvision, and of timm the model with the fewest norms of each file that has any: {len(both)} models.",
        "All of them were measured." if len(compared) == len(both) else f"{len(compared)} of them were measured in the time given.",
        *("", *_comparison(compared), *_errors(compared)),
        *("", "## Frozen BatchNorm", "", *_frozen(compared)),
        *("", "## Time", "", *_times(compared)),
    ]
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        limit = "" if arguments.seconds is None else " --seconds SECONDS"
        command = f"python -m benchmarks.conversion --opacus FOLDER{limit}"
        arguments.write.write_text(header("Conversions of BatchNorm", command) + text + "\n", encoding="utf-8")


def _errors(rows: _Rows) -> list[str]:
    raised = [f"{row['family']} {row['name']}: {row[tool]['error']}" for row in rows for tool in _TOOLS if "error" in row.get(tool, {})]
    killed = [f"{row['family']} {row['name']}: {row['error']}" for row in rows if "error" in row]
    return [*_listed("Errors", raised), *_listed("Not measured", killed)]


if __name__ == "__main__":
    main()
