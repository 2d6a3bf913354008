"""``python -m benchmarks.fused.gpu --out FILE``: fused operations on an NVIDIA GPU, in less than eight minutes on an H100.

Kernels are compiled ahead, side by side. Every operation is held against float64 first, then timed forward and with its backward pass, in
turn with eager, ``torch.compile`` and the packages that are installed; then whole training steps. What there is no time for is said.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.fused.gpu.ahead import compile_ahead
from benchmarks.fused.gpu.clock import Clock, copy_bandwidth
from benchmarks.fused.gpu.measure import ROUNDS, failure, measure
from benchmarks.fused.gpu.peers import installed
from benchmarks.fused.gpu.shapes import CASES, SMALL, Case
from benchmarks.fused.gpu.steps import COMPILED, FUSED, NETWORKS, SMALL_NETWORKS, measure_steps
from benchmarks.fused.gpu.table import goals_table, operations_table, shortfalls, steps_table
from benchmarks.report import header

_SECONDS = 450.0
"""Of the whole run: what begins later is left out."""
_FOR_STEPS = 190.0
"""Seconds of them that are kept for training steps."""
_AHEAD = 80.0
"""Seconds of them in which kernels are compiled ahead, at most."""
_NEEDED = {FUSED: 40.0, COMPILED: 100.0}
"""Seconds that have to be left for a network: what is begun is ended."""


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fused.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, help="markdown file to write; what was measured goes beside it as JSON")
    parser.add_argument("--only", default="", help="operations and networks whose name contains this")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for all of it")
    parser.add_argument("--backend", default="inductor", help="of torch.compile; 'none' leaves it out")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-steps", action="store_true", help="operations alone")
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, on a CPU where there is no GPU: numbers mean nothing")
    arguments = parser.parse_args(given)
    arguments.backend = "" if arguments.backend == "none" else arguments.backend
    return arguments


def _device(*, smoke: bool) -> torch.device | None:
    """The GPU; ``None`` where there is none and numbers would mean nothing."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu") if smoke else None


def _operations(arguments: argparse.Namespace, clock: Clock, end: float) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the cases, and which were left out for want of time."""
    rows: list[dict[str, Any]] = []
    late: list[str] = []
    for case in _cases(arguments):
        if time.monotonic() > end:
            late.append(f"{case.operation}, {case.words}")
            continue
        try:
            rows.append(measure(case, clock, backend=arguments.backend, rounds=arguments.rounds))
        except Exception as problem:  # noqa: BLE001 - one case less is no reason to lose the others
            rows.append(failure(case, problem))
        _empty(clock)
        print(f"{case.operation}, {case.words}, {case.dtype}", file=sys.stderr)
    return rows, late


def _empty(clock: Clock) -> None:
    """Give back what is not used; a GPU that does not answer any more must not keep the results from being written."""
    with suppress(RuntimeError):
        gc.collect()
        if clock.device.type == "cuda":
            torch.cuda.empty_cache()


def _cases(arguments: argparse.Namespace) -> Iterator[Case]:
    return (case for case in (SMALL if arguments.smoke else CASES) if arguments.only in case.operation)


def _ahead(arguments: argparse.Namespace, clock: Clock) -> list[str]:
    """Compile what will be run; what was not."""
    if clock.device.type != "cuda":
        return []
    networks = [] if arguments.no_steps or arguments.smoke else [name for name in NETWORKS if arguments.only in name]
    began = time.monotonic()
    failed, done = compile_ahead(list(_cases(arguments)), networks, clock.device, _AHEAD)
    print(f"\ncompiled ahead in {time.monotonic() - began:.0f} s", *failed, sep="\n", file=sys.stderr)
    return [] if done else ["compiling all kernels ahead"]


def _steps(arguments: argparse.Namespace, clock: Clock, end: float) -> tuple[dict[str, Any], list[str]]:
    """What each network took in each way, fused first; and what was left out for want of time."""
    known = {} if arguments.no_steps else SMALL_NETWORKS if arguments.smoke else NETWORKS
    networks = {name: network for name, network in known.items() if arguments.only in name}
    ways = (FUSED, COMPILED) if arguments.backend and not arguments.smoke else (FUSED,)
    found: dict[str, Any] = {}
    late: list[str] = []
    for way in ways:
        for name, network in networks.items():
            if time.monotonic() + (0.0 if arguments.smoke else _NEEDED[way]) > end:
                late.append(f"{name}, {way}")
                continue
            try:
                row = measure_steps(network, clock, way, rounds=arguments.rounds, force=arguments.smoke)
            except Exception as problem:  # noqa: BLE001 - one network less is no reason to lose the others
                row = {"failed": f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"}
            found.setdefault(name, {})[way] = row
            _empty(clock)
            print(f"{name}, {way}", file=sys.stderr)
    return found, late


def _where(clock: Clock, bandwidth: float, *, smoke: bool) -> str:
    device = torch.cuda.get_device_name(clock.device) if clock.device.type == "cuda" else f"cpu, {platform.machine()}"
    packages = ", ".join(f"{name} {'installed' if there else 'not installed'}" for name, there in installed().items())
    warning = " **Tiny shapes to try the program out: the numbers mean nothing.**" if smoke else ""
    return (
        f"{device}; copying reads and writes {bandwidth / 1e9:.0f} GB/s. {packages}.{warning}\n\n"
        "Times are those of the GPU alone, with an empty cache and all launches queued before; all ways take turns. Shares are of the "
        "bandwidth of a copy, for the bytes that an operation has to move with two passes over what it normalizes. Ratios, forward and "
        "backward together, say how many times as fast as the other the fused operation is. Errors of outputs and gradients against "
        "float64 are in times of eager's (or of four rounding steps where those are more): up to 2 is wanted. Training steps are timed on "
        "the wall, under autocast in bfloat16. The kernels of fused operations were compiled before, by other processes: their time until "
        "the first loss is that of finding and measuring places, without compilation."
    )


def _report(rows: list[dict[str, Any]], steps: dict[str, Any], late: list[str], bandwidth: float) -> str:
    parts = ["## Operations", "", operations_table(rows, bandwidth), "", goals_table(rows, bandwidth)] if rows else []
    if steps:
        parts += ["", "## Training steps", "", steps_table(steps)]
    if late:
        parts += ["", "There was no time left for:", "", *(f"- {name}" for name in late)]
    short = shortfalls(rows, bandwidth)
    if short:
        parts += ["", "## Where the fused operations fall short", "", *(f"- {line}" for line in short)]
    return "\n".join(parts)


def main(given: list[str] | None = None) -> int:
    """Measure, print, and write; 1 where the fused operations fall short, 2 without a GPU."""
    arguments = _arguments(given)
    device = _device(smoke=arguments.smoke)
    if device is None:
        print("there is no CUDA device here; --smoke tries the program out on a CPU", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    end = time.monotonic() + arguments.seconds
    clock = Clock(device)
    late = _ahead(arguments, clock)
    bandwidth = copy_bandwidth(clock, 2**20) if arguments.smoke else copy_bandwidth(clock)
    rows, later = _operations(arguments, clock, end - (0 if arguments.no_steps else _FOR_STEPS))
    steps, latest = _steps(arguments, clock, end)
    late += later + latest
    text = "\n\n".join([_where(clock, bandwidth, smoke=arguments.smoke), _report(rows, steps, late, bandwidth)])
    print(text)
    if arguments.out:
        title = header("Fused operations on a GPU", "python -m benchmarks.fused.gpu --out FILE")
        arguments.out.write_text(f"{title}{text}\n", encoding="utf-8")
        kept = {"bandwidth": bandwidth, "operations": rows, "steps": steps, "left_out": late}
        arguments.out.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return 1 if not arguments.smoke and shortfalls(rows, bandwidth) else 0


if __name__ == "__main__":
    sys.exit(main())
