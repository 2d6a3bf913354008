"""``python -m benchmarks.fused.cpu``: inference of torchvision and timm models on a CPU, in all the ways there are to make it faster.

Each model runs at each batch size in processes of its own: one for all ways that run eagerly, one for each that compiles, with an empty
cache. All take turns with eager in the same process; the ratio of each round counts, so that a machine that grows slower meanwhile slows
both. The run waits for other processes to leave the machine alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fused.cpu.models import MODELS, SIDE
from benchmarks.fused.cpu.table import shortfalls, tables
from benchmarks.fused.cpu.variants import ALONE, TOGETHER, VARIANTS
from benchmarks.report import header

_QUIET = 0.15
"""Share of the machine that others may take."""
_LOOK = 1.0
"""Seconds over which it is watched."""
_MOST_SECONDS = 1200.0
"""One process may take."""


def _quiet(seconds: float) -> bool:
    """Wait until the machine is left alone; whether it was within ``seconds``."""
    end = time.monotonic() + seconds
    while psutil.cpu_percent(_LOOK) / 100 > _QUIET:
        if time.monotonic() > end:
            return False
    return True


def _process(model: str, batch: int, variants: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own found of some variants; where it fails, so do they."""
    command = [sys.executable, "-m", "benchmarks.fused.cpu.measure", model, *variants, "--batch", str(batch)]
    command += ["--rounds", str(arguments.rounds), "--side", str(arguments.side)]
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_MOST_SECONDS, env=environment)
        except subprocess.TimeoutExpired:
            return {"variants": {name: {"failed": f"Timeout: no result within {_MOST_SECONDS:.0f} s"} for name in variants}}
        except subprocess.CalledProcessError as error:
            told = (error.stderr or "").strip().splitlines() or [f"Exit: code {error.returncode}"]
            return {"variants": {name: {"failed": told[-1][:200]} for name in variants}}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _key(row: dict[str, Any]) -> tuple[str, int]:
    return row["model"], row["batch"]


def _kept(path: Path | None) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows that were measured before; a later line of the same model and batch size adds to an earlier one."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else ():
        _add(rows, json.loads(line))
    return rows


def _add(rows: dict[tuple[str, int], dict[str, Any]], row: dict[str, Any]) -> None:
    known = rows.setdefault(_key(row), {**row, "variants": {}})
    known["eager"] = row["eager"] or known["eager"]
    known["variants"] |= row["variants"]


def _measured(arguments: argparse.Namespace) -> dict[tuple[str, int], dict[str, Any]] | None:
    """All rows, those that were kept before among them; ``None`` where the machine does not become quiet."""
    rows = _kept(arguments.rows)
    wanted = [name for name in VARIANTS if name in arguments.variants]
    parts = [[name for name in TOGETHER if name in wanted], *([name] for name in ALONE if name in wanted)]
    for batch in arguments.batch:
        for model in arguments.only or list(MODELS):
            known = rows.get((model, batch), {}).get("variants", {})
            for part in parts:
                missing = [name for name in part if "ratios" not in known.get(name, ())]
                if not missing:
                    continue
                if not arguments.busy and not _quiet(arguments.wait):
                    return None
                found = _process(model, batch, missing, arguments)
                row = {"model": model, "batch": batch, "eager": [], "threads": None, **found}
                _add(rows, row)
                if arguments.rows:
                    with arguments.rows.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                print(f"{model}, batch {batch}: {', '.join(missing)}", file=sys.stderr)
    return rows


def _how(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    threads = next((row["threads"] for row in rows if row["threads"]), "?")
    return (
        f"float32, images of {arguments.side} x {arguments.side}, {threads} threads on {os.cpu_count()} cores ({_processor()}). "
        f"{arguments.rounds} rounds in which all take turns with eager in one process (the compilers in one each, with an empty cache); "
        "ratios are medians with quartiles, above 1 is faster. Images are contiguous for eager, and in channels_last for every model whose "
        "convolutions are: no call converts them. Seconds until the first result: making it ready and the first call."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor not known")


def main(given: list[str] | None = None) -> int:
    """Measure, print, and write; 1 where the optimized model falls short, 2 where the machine is busy."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fused.cpu", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(MODELS), help="some of the models")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--side", type=int, default=SIDE, help="height and width of the images")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--wait", type=float, default=600.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--busy", action="store_true", help="measure whatever else runs")
    parser.add_argument("--rows", type=Path, help="file of JSON lines that keeps what was measured, so that an interrupted run goes on")
    parser.add_argument("--write", type=Path, help="markdown file to write")
    arguments = parser.parse_args(given)
    rows = _measured(arguments)
    if rows is None:
        print(f"others take more than {_QUIET:.0%} of the machine: what is measured beside them counts for nothing", file=sys.stderr)
        return 2
    chosen = [row for row in rows.values() if row["batch"] in arguments.batch and row["model"] in (arguments.only or MODELS)]
    text = "\n".join([_how(chosen, arguments), "", tables(chosen)])
    print(text)
    if arguments.write:
        title = header("Inference on a CPU, optimized", "python -m benchmarks.fused.cpu --rows FILE")
        arguments.write.write_text(title + text + "\n", encoding="utf-8")
    return 1 if shortfalls(chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
