"""One measurement in a process of its own: ``python -m benchmarks.probe.overhead.measure``; prints JSON."""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import time
from typing import Any

import psutil
import torch

from benchmarks.probe.overhead.models import MODELS, Training
from normadvisor.probe import Recorder

_MIB = 2**20


def _step(training: Training, recorder: Recorder | None) -> float:
    """Seconds of one step; with a recorder, of recording it too."""
    device = next(training.model.parameters()).device
    started = _now(device)
    if recorder is not None:
        recorder.__enter__()
        recorder.begin_step()
    training.optimizer.zero_grad(set_to_none=True)
    training.loss().backward()
    if recorder is not None:
        recorder.after_backward()
    training.optimizer.step()
    if recorder is not None:
        recorder.end_step()
        recorder.__exit__(None, None, None)
    return _now(device) - started


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _pairs(training: Training, pairs: int) -> list[tuple[float, float]]:
    """Seconds of a plain and of a recorded step, in turn, every other pair in the other order."""
    recorder = Recorder(training.model)
    for each in (None, recorder, None, recorder):
        _step(training, each)
    found: list[tuple[float, float]] = []
    for index in range(pairs):
        if index % 2:
            probed = _step(training, recorder)
            found.append((_step(training, None), probed))
        else:
            plain = _step(training, None)
            found.append((plain, _step(training, recorder)))
    return found


def _peak(training: Training, before: float, *, steps: int, probed: bool) -> dict[str, float]:
    """MiB at the peak of some steps, beyond what the process took before the model was built."""
    recorder = Recorder(training.model) if probed else None
    for _ in range(steps):
        _step(training, recorder)
    device = next(training.model.parameters()).device
    if device.type == "cuda":
        return {"peak": torch.cuda.max_memory_allocated(device) / _MIB}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB - before}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=list(MODELS))
    parser.add_argument("what", choices=["pairs", "plain", "probed"])
    parser.add_argument("--number", type=int, default=10, help="pairs, or steps")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    build, batch = MODELS[arguments.model]
    device = torch.device(arguments.device)
    build(1, torch.device("meta"))  # imports what it needs
    gc.collect()
    before = psutil.Process().memory_info().rss / _MIB
    training = build(arguments.batch or batch, device)
    result: Any
    if arguments.what == "pairs":
        result = _pairs(training, arguments.number)
    else:
        result = _peak(training, before, steps=arguments.number, probed=arguments.what == "probed")
    print(json.dumps({"result": result, "batch": arguments.batch or batch, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
