"""``python -m benchmarks.probe.precision [FAMILY ...]``: probe real models with fresh weights, print every finding and every error.

Exit code 1 if a finding of severity warning or error has no judgement. Judgements are written by a person after looking at the model; they
stand in ``judgements.yaml`` beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import pkgutil
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks.probe.precision.models import FAMILIES, Entry, entries
from benchmarks.report import header
from benchmarks.zoo.isolated import run_isolated

_JUDGEMENTS = Path(__file__).with_name("judgements.yaml")
_IMPORTED = {"torchvision": "torchvision", "timm": "timm", "transformers": "transformers.modeling_utils"}
_MEMORY = 8 * 2**30
"""Bytes one model may take, as in ``normadvisor probe`` by default."""
_SECONDS = 400.0
"""After which a model is given up."""


def _prepare(families: Sequence[str]) -> None:
    """Import once what every forked process needs."""
    import torch  # noqa: PLC0415 - after the arguments are read

    import benchmarks.probe.precision.measure  # noqa: F401, PLC0415 - as above
    import normadvisor  # noqa: PLC0415 - as above

    for name in ("targets", "graph", "match", "probe"):
        for module in pkgutil.walk_packages([str(Path(normadvisor.__file__).parent / name)], f"normadvisor.{name}."):
            importlib.import_module(module.name)
    torch.set_num_threads(1)
    for family in families:
        importlib.import_module(_IMPORTED[family])


def _measured(chosen: Sequence[Entry], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from benchmarks.probe.precision.measure import probe_entry  # noqa: PLC0415 - after the arguments are read

    probe = partial(probe_entry, budget=arguments.budget)
    for outcome in run_isolated(probe, chosen, jobs=arguments.jobs, timeout=_SECONDS, memory=_MEMORY):
        entry = outcome.argument
        row = outcome.value or {"family": entry.family, "name": entry.name, "stage": "killed", "error": outcome.error}
        print(f"{row['family']}:{row['name']} {row['stage']} {row.get('seconds', 0.0):.1f} s {row['error'] or ''}", file=sys.stderr)
        yield row


def _rows(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows asked for; those that stand in the rows file already are not measured again."""
    families = arguments.families or list(FAMILIES)
    kept = []
    if arguments.rows and arguments.rows.exists():
        kept = [json.loads(line) for line in arguments.rows.read_text(encoding="utf-8").splitlines()]
    known = {(row["family"], row["name"]): row for row in kept}
    chosen = [entry for family in families for entry in entries(family) if (arguments.only or "") in entry.name]
    missing = [entry for entry in chosen if (entry.family, entry.name) not in known]
    if missing:
        _prepare(families)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(arguments.rows.open("a", encoding="utf-8")) if arguments.rows else None
        for row in _measured(missing, arguments):
            known[row["family"], row["name"]] = row
            if file:
                file.write(json.dumps(row, default=str) + "\n")
                file.flush()
    return [known[entry.family, entry.name] for entry in chosen]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _judgement(judgements: Sequence[Mapping[str, str]], rule: str, model: str) -> str | None:
    return next((item["reason"] for item in judgements if item["rule"] == rule and item["model"] == model), None)


def _summary(family: str, rows: Sequence[Mapping[str, Any]]) -> str:
    done = [row for row in rows if row["stage"] == "done"]
    levels = [Counter({each["severity"] for each in row["findings"]}) for row in done]
    counts = [str(sum(level[severity] for level in levels)) for severity in ("error", "warning", "info")]
    seconds = [row["seconds"] for row in done]
    learned = sum("overfit_last" in row["facts"] for row in done)
    few = sum(row["steps"] < 3 for row in done)
    times = f"{statistics.median(seconds):.1f} / {max(seconds):.1f}" if seconds else "-"
    return f"| {family} | {len(rows)} | {len(done)} | {few} | {' | '.join(counts)} | {learned} | {times} |"


def _findings(rows: Sequence[Mapping[str, Any]], judgements: Sequence[Mapping[str, str]]) -> tuple[list[str], int]:
    lines = ["| severity | rule | model | finding | judgement |", "| --- | --- | --- | --- | --- |"]
    unjudged = 0
    found = [(each, f"{row['family']}:{row['name']}") for row in rows for each in row.get("findings", ())]
    for each, model in sorted(found, key=lambda pair: (pair[0]["severity"] == "info", pair[0]["severity"], pair[0]["rule"], pair[1])):
        reason = _judgement(judgements, each["rule"], model)
        missing = reason is None and each["severity"] != "info"
        unjudged += missing
        words = reason or ("**not judged**" if missing else "")
        lines.append(f"| {each['severity']} | {each['rule']} | {model} | {_cell(each['message'])[:240]} | {_cell(words)} |")
    return (lines if found else ["None."]), unjudged


def _errors(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    failed = [row for row in rows if row["stage"] != "done"]
    lines = ["| model | reached | reason |", "| --- | --- | --- |"]
    lines += [f"| {row['family']}:{row['name']} | {row['stage']} | {_cell(row['error'] or '')[:300]} |" for row in failed]
    return lines if failed else ["None."]


def _losses(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| model | batch | layers | steps | loss | first | guess | learned by heart | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if row["stage"] != "done":
            continue
        facts = row["facts"]
        first, guess = (f"{facts[key]:.3g}" if facts.get(key) is not None else "" for key in ("initial_loss", "expected_initial_loss"))
        learned = ""
        if facts.get("overfit_last") is not None:
            learned = f"{facts['overfit_first']:.3g} to {facts['overfit_last']:.3g} in {facts['overfit_iterations']}"
        lines.append(
            f"| {row['family']}:{row['name']} | {_cell(row['batch'])[:60]} | {row['layers']} | {row['steps']} "
            f"| {_cell(row['loss_words'] or str(row['loss']))[:110]} | {first} | {guess} | {learned} | {row['seconds']:.1f} |"
        )
    return lines


def _text(rows: Sequence[Mapping[str, Any]], budget: float) -> tuple[str, int]:
    judged, missing = _findings(rows, yaml.safe_load(_JUDGEMENTS.read_text(encoding="utf-8")) or [])
    families = sorted({row["family"] for row in rows})
    lines = [
        "Fresh weights, inputs drawn at random, loss and everything else chosen by the probe; a process of one thread for each model, of",
        f"which {budget:g} s may be used for measuring; what is longer is a first step that took so long. Columns error, warning and info",
        "count models; few: models of which fewer than the three steps were run that several rules ask for; seconds are median / longest.",
        "",
        "| family | models | measured | few | error | warning | info | learned one batch, or tried to | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_summary(family, [row for row in rows if row["family"] == family]) for family in families),
        *("", "## Findings, each read", ""),
        *judged,
        *("", "## Not measured", ""),
        *_errors(rows),
        *("", "## Each model", ""),
        *_losses(rows),
    ]
    return "\n".join(lines), missing


def main() -> None:
    """Measure, judge, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe.precision", description=__doc__)
    parser.add_argument("families", nargs="*", help=f"any of {', '.join(FAMILIES)}; all by default")
    parser.add_argument("--only", help="models whose name contains this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for measuring one model")
    parser.add_argument("--rows", type=Path, help="file of JSON lines that keeps what was measured, so that an interrupted run goes on")
    parser.add_argument("--write", type=Path, help="markdown file to write")
    arguments = parser.parse_args()
    text, missing = _text(_rows(arguments), arguments.budget)
    print(text)
    if arguments.write:
        command = f"python -m benchmarks.probe.precision {' '.join(arguments.families)}".strip()
        arguments.write.write_text(header("Precision of probes on real models", command) + text + "\n", encoding="utf-8")
    if missing:
        print(f"{missing} findings have no judgement in {_JUDGEMENTS.name}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
