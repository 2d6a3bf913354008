"""``python -m benchmarks.speed``: print the tables, and write them with ``--write``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import header
from benchmarks.speed.models import LLAMA_70B, write_stack
from benchmarks.speed.processes import Spread, interleaved, run

_CHECK = [sys.executable, "-m", "normadvisor", "check", "--exit-zero"]
_BASELINES = {
    "resnet50": (
        ["torchvision.models:resnet50"],
        "import torch, torchvision; torchvision.models.resnet50()",
    ),
    "efficientnet_b0": (
        ["torchvision.models:efficientnet_b0"],
        "import torch, torchvision; torchvision.models.efficientnet_b0()",
    ),
    "vit_b_16": (
        ["torchvision.models:vit_b_16"],
        "import torch, torchvision; torchvision.models.vit_b_16()",
    ),
}


def _against_build(pairs: int) -> list[str]:
    lines = [
        "## Against importing torch and building the model",
        "",
        "| model | check, s | import + build, s | wall ratio | peak memory ratio |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (target, code) in _BASELINES.items():
        runs = interleaved([*_CHECK, *target], [sys.executable, "-c", code], pairs=pairs)
        ours, theirs = zip(*runs, strict=True)
        lines.append(
            f"| {name} | {Spread.of([r.wall for r in ours]).text()} | {Spread.of([r.wall for r in theirs]).text()} "
            f"| {Spread.of([a.wall / b.wall for a, b in runs]).text()} | {Spread.of([a.memory / b.memory for a, b in runs]).text()} |"
        )
    return lines


def _against_size(sizes: list[int], repeats: int) -> list[str]:
    lines = [
        "## Against model size",
        "",
        "Seconds beyond a model of 5 nodes, so that the start of Python and torch is not counted.",
        "",
        "| nodes | wall, s | beyond the smallest, s | per 1,000 nodes, s | peak memory, MiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        smallest = None
        for nodes in [5, *sizes]:
            path = write_stack(Path(folder), nodes)
            runs = [run([*_CHECK, "--timeout", "300", path.name], cwd=folder) for _ in range(repeats)]
            wall = Spread.of([r.wall for r in runs])
            smallest = smallest or wall.median
            beyond = wall.median - smallest
            memory = max(r.memory for r in runs)
            lines.append(f"| {nodes:,} | {wall.text()} | {beyond:.2f} | {beyond / nodes * 1000:.3f} | {memory:.0f} |")
    return lines


def _imports_torch(arguments: list[str]) -> bool:
    command = [sys.executable, "-X", "importtime", "-m", "normadvisor", *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    return any(line.rsplit("|", 1)[-1].strip() == "torch" for line in printed.splitlines())


def _without_torch(repeats: int) -> list[str]:
    lines = ["## Commands that need no torch", "", "| command | wall, s | imports torch |", "| --- | --- | --- |"]
    for arguments in (["--help"], ["check", "--help"], ["rule", "list"], ["rule", "explain", "NA102"]):
        runs = [run([sys.executable, "-m", "normadvisor", *arguments]) for _ in range(repeats + 1)][1:]
        torch = "yes" if _imports_torch(arguments) else "no"
        lines.append(f"| `normadvisor {' '.join(arguments)}` | {Spread.of([r.wall for r in runs]).text(3)} | {torch} |")
    return lines


def _large_model() -> list[str]:
    lines = [
        "## A Llama shape with 70 billion parameters, two cores",
        "",
        "| model | wall, s | peak memory of the largest process, MiB | exit code |",
        "| --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "llama_70b.py"
        path.write_text(LLAMA_70B, encoding="utf-8")
        result = run([*_CHECK, "--timeout", "300", path.name], cwd=folder)
    lines.append(f"| LlamaForCausalLM, 80 layers, width 8192 | {result.wall:.1f} | {result.memory:.0f} | {result.code} |")
    return lines


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="counted runs of each command in a comparison")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 2_500, 5_000, 10_000, 20_000])
    parser.add_argument("--write", type=Path, help="markdown file to write")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    parts: list[Callable[[], list[str]]] = [
        lambda: _against_build(arguments.pairs),
        lambda: _against_size(arguments.sizes, 3),
        lambda: _without_torch(arguments.pairs),
        _large_model,
    ]
    text = header("Speed of `normadvisor check`", "python -m benchmarks.speed")
    for part in parts:
        section = "\n".join(part())
        print(section, end="\n\n", flush=True)
        text += section + "\n\n"
    if arguments.write:
        arguments.write.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
