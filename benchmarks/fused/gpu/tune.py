"""``python -m benchmarks.fused.gpu.tune --out launches.json``: better launch parameters for the GPU at hand.

For each case the parameters that its kernels ask for are changed one at a time, and a change is kept where forward and backward together
become faster. The file is what the environment variable ``NORMADVISOR_LAUNCHES`` may name, and what the tables of
:mod:`normadvisor.fused` can be brought up to date by.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.fused.gpu.clock import Clock
from benchmarks.fused.gpu.operations import OPERATIONS, draw
from benchmarks.fused.gpu.shapes import CASES, Case
from normadvisor.fused.common import launch as launches

__all__ = ["changes", "tune", "used"]

_CLEARLY = 0.98
"""Time, in times of that before, up to which a change is kept."""
_ROUNDS = 5
_LIMITS: Mapping[str, tuple[int, int]] = {"tile": (256, 32768), "num_warps": (1, 32), "num_stages": (1, 4), "programs": (1, 32)}
"""Least and largest value of each parameter that is tried."""

Values = dict[str, dict[str, int]]


class _Asked(dict[str, Any]):
    """A table that remembers what was asked for."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        super().__init__(table)
        self.names: dict[str, None] = {}

    def __getitem__(self, name: str) -> Any:
        self.names[name] = None
        return super().__getitem__(name)


def used(run: Callable[[], object]) -> list[str]:
    """Names of the regimes whose parameters are asked for while ``run`` is called."""
    run()  # Tables are registered with the kernels, which are imported when they are first needed.
    before = launches._tables  # noqa: SLF001 - what a benchmark may look at
    asked = _Asked(before)
    launches._tables = asked  # noqa: SLF001 - as above
    try:
        run()
    finally:
        launches._tables = before  # noqa: SLF001 - as above
    return list(asked.names)


def changes(held: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """What a regime may become in one step: one parameter halved, doubled, or one more or less."""
    for key, (least, most) in _LIMITS.items():
        value = held[key]
        steps = (value - 1, value + 1) if key == "num_stages" else (value // 2, value * 2)
        yield from ((key, step) for step in steps if least <= step <= most)


def _runner(case: Case, clock: Clock) -> Callable[[], object]:
    operation = OPERATIONS[case.operation]
    inputs = draw(case, operation, clock.device)
    found = operation.fused(inputs)
    outputs = found if isinstance(found, tuple) else (found,)
    seeds = [torch.randn_like(output) for output in outputs]

    def run() -> object:
        found = operation.fused(inputs)
        outputs = found if isinstance(found, tuple) else (found,)
        return torch.autograd.grad(outputs, inputs.differentiated, seeds)

    return run


def tune(case: Case, clock: Clock, known: Values, end: float) -> tuple[Values, float]:
    """Improve the parameters of one case.

    Args:
        case: what is run.
        clock: of the device.
        known: changes that hold already; not changed.
        end: when to stop, on :func:`time.monotonic`.

    Returns:
        All changes, those that held already among them, and how many times as fast the case became.

    """
    run = _runner(case, clock)
    with launches.overridden(known):
        names = used(run)
        first = best = median(clock.seconds(run, _ROUNDS))
    held = {name: dict(values) for name, values in known.items()}
    for name in names:
        for key, value in list(changes(launches.all_launches()[name] | held.get(name, {}))):
            if time.monotonic() > end:
                return held, first / best
            tried = {**held, name: {**held.get(name, {}), key: value}}
            seconds = _seconds(run, clock, tried)
            if seconds is not None and seconds < best * _CLEARLY:
                held, best = tried, seconds
    return held, first / best


def _seconds(run: Callable[[], object], clock: Clock, tried: Values) -> float | None:
    """Of a call with other parameters; ``None`` where the kernel cannot be launched so."""
    with launches.overridden(tried):
        try:
            run()
            return median(clock.seconds(run, _ROUNDS))
        except Exception:  # noqa: BLE001 - too many registers, too much shared memory: whatever the compiler says
            return None


def main(given: list[str] | None = None) -> int:
    """Tune, print, and write; 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fused.gpu.tune", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write; what it holds already is where the search begins")
    parser.add_argument("--only", default="", help="operations whose name contains this")
    parser.add_argument("--seconds", type=float, default=540.0, help="for all of it")
    arguments = parser.parse_args(given)
    if not torch.cuda.is_available():
        print("there is no CUDA device here", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    clock = Clock(torch.device("cuda", torch.cuda.current_device()))
    held: Values = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
    end = time.monotonic() + arguments.seconds
    for case in CASES:
        if arguments.only not in case.operation or time.monotonic() > end:
            continue
        held, faster = tune(case, clock, held, end)
        arguments.out.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{case.operation}, {case.words}, {case.dtype}: {faster:.2f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
