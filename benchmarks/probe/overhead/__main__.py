"""``python -m benchmarks.probe.overhead``: training steps with and without a recorder, in time and memory.

Steps with and without recording take turns in one process, every other pair in the other order; the ratio of each pair counts, so that a
machine that grows slower meanwhile slows both. Peak memory is that of processes of their own, beyond what each took before its model was
built, as the operating system counted it (on a GPU: as torch's allocator did).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.probe.overhead.models import MODELS
from benchmarks.report import header

_MOST_TIME, _MOST_MEMORY = 1.10, 1.05
_MOST_TIME_GPU = 1.05


def _run(model: str, what: str, number: int, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.probe.overhead.measure", model, what]
    command += ["--number", str(number), "--device", arguments.device]
    if arguments.batch:
        command += ["--batch", str(arguments.batch)]
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measured(model: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Pairs of seconds and pairs of MiB of one model."""
    pairs = _run(model, "pairs", arguments.pairs, arguments)
    memory: list[tuple[float, float]] = []
    for _ in range(arguments.processes):
        plain, probed = (_run(model, what, arguments.steps, arguments)["result"]["peak"] for what in ("plain", "probed"))
        memory.append((plain, probed))
    return {"model": model, "batch": pairs["batch"], "threads": pairs["threads"], "seconds": pairs["result"], "memory": memory}


def _spread(ratios: list[float]) -> str:
    if len(ratios) < 2:
        return f"{ratios[0]:.3f}"
    low, _, high = quantiles(ratios, n=4)
    return f"{median(ratios):.3f} ({low:.3f} to {high:.3f})"


def _line(row: dict[str, Any]) -> str:
    seconds, memory = row["seconds"], row["memory"]
    time = _spread([probed / plain for plain, probed in seconds])
    peak = _spread([probed / plain for plain, probed in memory])
    steps = [f"{median(pair[index] for pair in seconds) * 1000:.0f}" for index in (0, 1)]
    peaks = [f"{median(pair[index] for pair in memory):.0f}" for index in (0, 1)]
    return f"| {row['model']} | {row['batch']} | {steps[0]} | {steps[1]} | {time} | {peaks[0]} | {peaks[1]} | {peak} |"


def _table(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    most = _MOST_TIME if arguments.device == "cpu" else _MOST_TIME_GPU
    where = f"{rows[0]['threads']} threads on {os.cpu_count()} cores" if arguments.device == "cpu" else arguments.device
    how = (
        f"Default metrics, float32, {where}. {arguments.pairs} pairs of steps in turn; {arguments.processes} pairs of processes for "
        f"memory, {arguments.steps} steps each, beyond what a process takes before its model is built. Ratios are medians with "
        f"quartiles. Wanted: at most {most:.2f} in time and {_MOST_MEMORY:.2f} in memory."
    )
    return "\n".join(
        [
            header("What recording a training step costs", "python -m benchmarks.probe.overhead").rstrip(),
            "",
            how,
            "",
            "| model | batch | ms | ms recorded | ratio | peak MiB | peak MiB recorded | ratio |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *(_line(row) for row in rows),
        ]
    )


def _kept(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> bool:
    """Whether the medians are within what is wanted."""
    most = _MOST_TIME if arguments.device == "cpu" else _MOST_TIME_GPU
    return all(
        median(probed / plain for plain, probed in row["seconds"]) <= most
        and median(probed / plain for plain, probed in row["memory"]) <= _MOST_MEMORY
        for row in rows
    )


def main() -> int:
    """Measure, print, and write; 1 where more is taken than wanted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe.overhead", description=__doc__)
    parser.add_argument("--only", choices=list(MODELS), help="one of the models")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--processes", type=int, default=3, help="pairs of processes for memory")
    parser.add_argument("--steps", type=int, default=4, help="steps of each of these")
    parser.add_argument("--batch", type=int, help="samples, instead of each model's own number")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", type=Path, help="markdown file to write")
    arguments = parser.parse_args()
    rows = []
    for model in [arguments.only] if arguments.only else list(MODELS):
        rows.append(_measured(model, arguments))
        print(_line(rows[-1]), file=sys.stderr)
    table = _table(rows, arguments)
    print(table)
    if arguments.write:
        arguments.write.write_text(table + "\n", encoding="utf-8")
    return 0 if _kept(rows, arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
