"""Compiles the kernels of fused operations side by side before anything is timed: one after the other takes half of the time there is.

Processes compile into Triton's cache on disk, from which the program then loads. Nothing that is compiled here chooses between variants by
measuring, so that it does not matter what else the GPU does meanwhile; ``torch.compile`` does, and is left alone.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Sequence
from multiprocessing.pool import AsyncResult
from pathlib import Path
from time import monotonic

import torch

from benchmarks.fused.gpu.operations import OPERATIONS, draw
from benchmarks.fused.gpu.shapes import Case
from benchmarks.fused.gpu.steps import NETWORKS, call_fused

__all__ = ["compile_ahead", "prepare"]

_CACHE = "TRITON_CACHE_DIR"
_MOST_PROCESSES = 8
"""Each takes half a GiB of the GPU for itself, and a few more for tensors."""

Job = tuple[Case | str, str]
"""A case or the name of a network, and the device."""


def compile_ahead(cases: Sequence[Case], networks: Sequence[str], device: torch.device, seconds: float) -> tuple[list[str], bool]:
    """Run every case and the places of every network once, in processes of their own.

    Args:
        cases: whose kernels are compiled.
        networks: names of :data:`~benchmarks.fused.gpu.steps.NETWORKS`.
        device: where they run.
        seconds: after which what is not compiled is left to be compiled later.

    Returns:
        What failed, in words, and whether there was time for all.

    """
    # Inductor moves Triton's cache to a folder of its own unless it is said where it is.
    os.environ.setdefault(_CACHE, str(Path.home() / ".triton" / "cache"))
    jobs: list[Job] = [(name, str(device)) for name in networks] + [(case, str(device)) for case in cases]
    if not jobs:
        return [], True
    end = monotonic() + seconds
    processes = max(1, min(_MOST_PROCESSES, (os.cpu_count() or 2) // 2, len(jobs)))
    with multiprocessing.get_context("spawn").Pool(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = [_result(one, end) for one in [pool.apply_async(prepare, (job,)) for job in jobs]]
    return sorted({reason for reason in found if reason}), None not in found


def _result(one: AsyncResult[str], end: float) -> str | None:
    try:
        return one.get(max(0.0, end - monotonic()))
    except multiprocessing.TimeoutError:
        return None


def prepare(job: Job) -> str:
    """Run a case, or the places of a network, once; why it failed, or nothing."""
    what, device = job
    warnings.simplefilter("ignore")
    try:
        if isinstance(what, str):
            call_fused(NETWORKS[what], torch.device(device))
        else:
            _run(what, torch.device(device))
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    except Exception as problem:  # noqa: BLE001 - it will fail again where it is measured, and be told there
        return f"{what if isinstance(what, str) else what.operation}: {type(problem).__name__}"
    print(".", end="", file=sys.stderr, flush=True)
    return ""


def _run(case: Case, device: torch.device) -> None:
    operation = OPERATIONS[case.operation]
    inputs = draw(case, operation, device)
    found = operation.fused(inputs)
    outputs = found if isinstance(found, tuple) else (found,)
    torch.autograd.grad(outputs, inputs.differentiated, [torch.randn_like(output) for output in outputs])
