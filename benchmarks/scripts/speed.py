"""``python -m benchmarks.scripts.speed``: time and memory of ``check --static`` beside ruff and TorchFix, all in one run on two cores.

TorchFix is used if it can be imported from the folder given by ``--torchfix`` (``pip install --target FOLDER torchfix``).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from benchmarks.scripts.labels import CORPUS, corpus
from benchmarks.scripts.results import write_section
from benchmarks.speed.processes import Run, Spread, run

__all__ = ["main", "tree_memory"]

_SITE = Path(sysconfig.get_path("purelib"))
_CHECK = [sys.executable, "-m", "normadvisor", "check", "--static", "--exit-zero", "--quiet", "--jobs", "2"]
_MIB = 1024 * 1024
_SLOW = 20.0


def _lines(folder: Path) -> tuple[int, int]:
    files = [path for path in folder.rglob("*.py") if "__pycache__" not in path.parts]
    return len(files), sum(path.read_bytes().count(b"\n") for path in files)


def tree_memory(command: Sequence[str], cwd: Path) -> float:
    """Most memory (MiB) a command and its children held together, shared pages counted once where the system tells (PSS, else RSS)."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watched, most = psutil.Process(process.pid), 0.0
    while process.poll() is None:
        held = 0.0
        try:
            for one in (watched, *watched.children(recursive=True)):
                memory = one.memory_full_info()
                held += getattr(memory, "pss", memory.rss) / _MIB
        except psutil.Error:
            continue
        most = max(most, held)
        time.sleep(0.01)
    return most


def _alternated(commands: dict[str, list[str]], rounds: int, cwd: Path) -> dict[str, list[Run]]:
    """Every command in turn, ``rounds`` counted times after one uncounted, so that a drifting machine touches all alike.

    ``{round}`` in an argument stands for the number of the round. A command that takes longer than ``_SLOW`` seconds runs twice only.
    """
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            if runs[name] and runs[name][-1].wall > _SLOW and len(runs[name]) > 1:
                continue
            done = run([argument.replace("{round}", str(number)) for argument in command], cwd=str(cwd))
            if number or done.wall > _SLOW:
                runs[name].append(done)
    return runs


def _others(torchfix: Path | None) -> dict[str, list[str]]:
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    others = {}
    if ruff:
        others["ruff check, no cache"] = [ruff, "check", "--no-cache", "--isolated", "--exit-zero", "--quiet"]
        others["ruff check --select ALL, no cache"] = [*others["ruff check, no cache"], "--select", "ALL"]
    if torchfix and (torchfix / "torchfix").is_dir():
        start = f"import sys; sys.path.insert(0, {str(torchfix)!r}); sys.argv[0] = 'torchfix'; from torchfix.__main__ import main; main()"
        others["torchfix --select ALL"] = [sys.executable, "-c", start, "--select", "ALL"]
    return others


def _against_others(package: str, rounds: int, torchfix: Path | None) -> list[str]:
    files, lines = _lines(_SITE / package)
    with tempfile.TemporaryDirectory() as caches:
        cached = [*_CHECK, "--cache-dir", f"{caches}/{{round}}", package]
        commands = {
            "normadvisor, first run (cache empty)": cached,
            "normadvisor, second run (cached)": cached,
            "normadvisor --no-cache": [*_CHECK, "--no-cache", package],
            **{name: [*command, package] for name, command in _others(torchfix).items()},
        }
        runs = _alternated(commands, rounds, _SITE)
    first = runs["normadvisor, first run (cache empty)"]
    table = [
        f"### The {package} package: {files} files, {lines:,} lines",
        "",
        "| command | runs | wall, s | processor, s | largest process, MiB | time relative to the first run of normadvisor |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, made in runs.items():
        wall, cpu = Spread.of([one.wall for one in made]), Spread.of([one.cpu for one in made])
        ratio = Spread.of([one.wall / ours.wall for one, ours in zip(made, first, strict=False)])
        table.append(f"| {name} | {len(made)} | {wall.text()} | {cpu.text()} | {max(one.memory for one in made):.0f} | {ratio.text()} |")
    if torchfix is None:
        table += ["", "TorchFix was not given."]
    whole = max(tree_memory([*_CHECK, "--no-cache", package], _SITE) for _ in range(2))
    return [*table, "", f"Most memory of all processes of `--no-cache` together, shared pages counted once: {whole:.0f} MiB."]


def _single_scripts(rounds: int) -> list[str]:
    scripts = sorted((script for script in corpus() if len(script.files) == 1), key=lambda script: script.files[0].stat().st_size)
    table = [
        "### One script",
        "",
        "| script | lines | wall, s | wall of `python -c pass`, s | peak memory, MiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for script in (scripts[0], scripts[len(scripts) // 2], scripts[-1]):
        name, lines = script.name, script.files[0].read_bytes().count(b"\n")
        commands = {"check": [*_CHECK, "--no-cache", name], "python": [sys.executable, "-c", "pass"]}
        runs = _alternated(commands, rounds, CORPUS)
        wall, python = (Spread.of([one.wall for one in runs[key]]) for key in ("check", "python"))
        memory = max(one.memory for one in runs["check"])
        table.append(f"| {name} | {lines} | {wall.text(3)} | {python.text(3)} | {memory:.0f} |")
    return table


def _linear(package: str, shares: Sequence[float]) -> list[str]:
    """Growing random parts of a package, each part holding the one before."""
    source = _SITE / package
    files = sorted(path.relative_to(source) for path in source.rglob("*.py") if "__pycache__" not in path.parts)
    random.Random(0).shuffle(files)
    table = [
        f"### Growing parts of {package}",
        "",
        "| part | files | lines | wall, s | per 1,000 lines, ms | all processes together, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / package
        for share in shares:
            for name in files[: round(len(files) * share)]:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, root / name)
            count, lines = _lines(root)
            command = [*_CHECK, "--no-cache", package]
            wall = Spread.of([run(command, cwd=folder).wall for _ in range(3)])
            memory = tree_memory(command, Path(folder))
            each = wall.median / lines * 1e6
            table.append(f"| {share:g} | {count:,} | {lines:,} | {wall.text()} | {each:.2f} | {memory:.0f} |")
    return table


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts.speed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted runs of every command")
    parser.add_argument("--torchfix", type=Path, help="folder TorchFix was installed into")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.125, 0.25, 0.5, 1.0], help="parts of transformers to time")
    parser.add_argument("--write", action="store_true", help="write the section into the results file")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    parts: list[Callable[[], list[str]]] = [
        lambda: _against_others("timm", arguments.rounds, arguments.torchfix and arguments.torchfix.resolve()),
        lambda: _single_scripts(arguments.rounds),
        lambda: _linear("transformers", arguments.shares) if arguments.shares else [],
    ]
    text = ""
    for part in parts:
        section = "\n".join(part())
        print(section, end="\n\n", flush=True)
        text += section + "\n\n"
    if arguments.write:
        write_section("Speed", "python -m benchmarks.scripts.speed --torchfix DIR --write", text)


if __name__ == "__main__":
    main()
