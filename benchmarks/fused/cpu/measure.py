"""Variants of one model beside eager in a process of its own: ``python -m benchmarks.fused.cpu.measure``; prints JSON."""

from __future__ import annotations

import argparse
import copy
import gc
import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.fused.cpu.models import MODELS, SIDE, build
from benchmarks.fused.cpu.variants import VARIANTS, Call

__all__ = ["Runner", "measure", "rounds"]

_AT_LEAST = 0.1
"""Seconds that one timing of a variant takes at least: calls are repeated until then."""
_MOST_CALLS = 64
_WARM = 3
"""Calls before anything is timed."""


@dataclass(slots=True)
class Runner:
    """Something that is called with images."""

    call: Call
    images: torch.Tensor
    number: int = 1
    """Calls per timing."""
    cold: float = 0.0
    """Seconds until it was ready and had run once."""

    def seconds(self) -> float:
        """Of one call, the mean over some."""
        started = time.perf_counter()
        for _ in range(self.number):
            self.call(self.images)
        return (time.perf_counter() - started) / self.number

    def warm_up(self) -> None:
        """Run until caches are filled, and choose how many calls a timing has."""
        for _ in range(_WARM):
            self.call(self.images)
        self.number = 1
        self.number = max(1, min(_MOST_CALLS, math.ceil(_AT_LEAST / max(self.seconds(), 1e-6))))


def rounds(runners: Mapping[str, Runner], number: int) -> tuple[dict[str, list[float]], list[float]]:
    """Let all take turns, eager first and last in each round, the others in another order each time.

    Args:
        runners: by name; one of them is ``eager``.
        number: rounds.

    Returns:
        For every variant how many times faster than eager it was in each round, with eager's time the mean of before and after, and seconds
        of eager.

    """
    names = [name for name in runners if name != "eager"]
    ratios: dict[str, list[float]] = {name: [] for name in names}
    eager: list[float] = []
    for index in range(number):
        turn = index % max(1, len(names))
        before = runners["eager"].seconds()
        found = {name: runners[name].seconds() for name in names[turn:] + names[:turn]}
        between = (before + runners["eager"].seconds()) / 2
        eager.append(between)
        for name, seconds in found.items():
            ratios[name].append(between / seconds)
    return ratios, eager


def _error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference, relative to the largest entry."""
    return float((found.double() - wanted.double()).abs().max() / wanted.double().abs().max())


def _made(name: str, model: nn.Module, images: torch.Tensor) -> Runner:
    variant = VARIANTS[name]
    given = images.contiguous(memory_format=torch.channels_last) if variant.channels_last else images
    own = copy.deepcopy(model)
    started = time.perf_counter()
    call = variant.make(own, given)
    if variant.channels_last is None and _is_channels_last(call):
        given = images.contiguous(memory_format=torch.channels_last)
    call(given)
    return Runner(call, given, cold=time.perf_counter() - started)


def _is_channels_last(call: Call) -> bool:
    """Whether the convolutions of a model are in that memory format, in which it takes images without converting them."""
    weights = [weight for weight in call.parameters() if weight.dim() == 4] if isinstance(call, nn.Module) else []
    return any(weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous() for weight in weights)


def measure(model: nn.Module, images: torch.Tensor, variants: Sequence[str], number: int) -> dict[str, Any]:
    """Time variants of a model against the model itself.

    Args:
        model: in eval mode; copied, not changed.
        images: what it is called with.
        variants: names out of :data:`~benchmarks.fused.cpu.variants.VARIANTS`.
        number: rounds.

    Returns:
        ``eager``: seconds of a call, one number a round; ``variants``: for each either ``ratios`` (above 1 is faster), ``cold`` (seconds
        until it had run once) and ``error`` (relative to the largest entry of the output), or ``failed``.

    """
    with torch.no_grad():
        started = time.perf_counter()
        wanted = model(images)
        runners = {"eager": Runner(model, images, cold=time.perf_counter() - started)}
        found: dict[str, dict[str, Any]] = {}
        for name in variants:
            try:
                runner = _made(name, model, images)
                found[name] = {"cold": runner.cold, "error": _error(runner.call(runner.images), wanted)}
                runners[name] = runner
            except Exception as error:  # noqa: BLE001 - that a way cannot be gone is a result
                found[name] = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        gc.collect()
        for runner in runners.values():
            runner.warm_up()
        ratios, eager = rounds(runners, number)
    for name, values in ratios.items():
        found[name]["ratios"] = values
    return {"eager": eager, "variants": found, "threads": torch.get_num_threads()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=list(MODELS))
    parser.add_argument("variants", nargs="+", choices=list(VARIANTS))
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    images = torch.randn(arguments.batch, 3, arguments.side, arguments.side, generator=torch.Generator().manual_seed(0))
    print(json.dumps(measure(build(arguments.model), images, arguments.variants, arguments.rounds)))


if __name__ == "__main__":
    main()
