"""One operation at one shape: whether it is right, and how long it takes, in every way there is to compute it."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from benchmarks.fused.gpu.clock import Clock
from benchmarks.fused.gpu.operations import OPERATIONS, Inputs, Operation, draw
from benchmarks.fused.gpu.peers import peers
from benchmarks.fused.gpu.shapes import Case
from normadvisor.fused.common.reference import relative_error

__all__ = ["FLOOR", "ROUNDS", "error", "measure"]

ROUNDS = 7
"""Rounds in which all ways take turns, of three calls each."""
FLOOR = 4.0
"""Rounding steps of the dtype up to which an error counts as none, whatever that of eager is."""
_WARM = 3

Way = Callable[[Inputs], Any]


def _outputs(found: Any) -> tuple[torch.Tensor, ...]:
    return tuple(found) if isinstance(found, tuple) else (found,)


def _seeds(outputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """A gradient for each output, that lies in memory as it does."""
    generator = torch.Generator(device=outputs[0].device).manual_seed(1)
    drawn = [torch.randn(output.shape, device=output.device, generator=generator) for output in outputs]
    return tuple(torch.empty_like(output).copy_(values) for output, values in zip(outputs, drawn, strict=True))


def _everything(way: Way, inputs: Inputs, seeds: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Outputs and gradients."""
    outputs = _outputs(way(inputs))
    given = [seed.to(output.dtype) for seed, output in zip(seeds, outputs, strict=True)]
    return (*(output.detach() for output in outputs), *torch.autograd.grad(outputs, inputs.differentiated, given))


def error(found: tuple[torch.Tensor, ...], eager: tuple[torch.Tensor, ...], exact: tuple[torch.Tensor, ...]) -> float:
    """Largest error of outputs and gradients against float64, in times of eager's own or of :data:`FLOOR` rounding steps."""
    worst = 0.0
    for mine, theirs, wanted in zip(found, eager, exact, strict=True):
        allowed = max(relative_error(theirs, wanted), FLOOR * torch.finfo(theirs.dtype).eps)
        worst = max(worst, relative_error(mine, wanted) / allowed)
    return worst


def measure(case: Case, clock: Clock, *, backend: str = "inductor", rounds: int = ROUNDS) -> dict[str, Any]:
    """Errors and times of one case.

    Returns:
        The case, ``bytes`` (of one tensor of the full shape), ``passes`` (forward, and forward with backward), and ``ways``: by name
        ``error`` (in times of eager's), ``forward`` and ``both`` (seconds, one number a round), or ``failed``.

    """
    operation = OPERATIONS[case.operation]
    inputs = draw(case, operation, clock.device)
    exact_inputs = inputs.to(torch.float64)
    seeds = _seeds(_outputs(operation.eager(inputs)))
    exact = _everything(operation.eager, exact_inputs, seeds)
    eager = _everything(operation.eager, inputs, seeds)
    ways: dict[str, Way] = {}
    found: dict[str, dict[str, Any]] = {}
    for name, way in (("eager", operation.eager), ("fused", operation.fused), *peers(case, backend=backend)):
        try:
            found[name] = {"error": error(_everything(way, inputs, seeds), eager, exact)}
            ways[name] = way
        except Exception as problem:  # noqa: BLE001 - that a way cannot be gone is a result
            found[name] = {"failed": f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"}
    del exact, exact_inputs, eager
    for key, times in _times(ways, inputs, seeds, clock, rounds).items():
        for name, seconds in times.items():
            found[name][key] = seconds
    return {
        "operation": case.operation, "shape": case.words, "dtype": case.dtype, "where": case.where,
        "bytes": inputs.data[0].numel() * inputs.data[0].element_size(), "passes": _passes(operation), "ways": found,
    }  # fmt: skip


def _passes(operation: Operation) -> dict[str, int]:
    return {"forward": operation.forward, "both": operation.both}


def _times(
    ways: dict[str, Way], inputs: Inputs, seeds: tuple[torch.Tensor, ...], clock: Clock, rounds: int
) -> dict[str, dict[str, list[float]]]:
    def forward(way: Way) -> Callable[[], object]:
        def run() -> object:
            with torch.no_grad():
                return way(inputs)

        return run

    def both(way: Way) -> Callable[[], object]:
        return lambda: torch.autograd.grad(_outputs(way(inputs)), inputs.differentiated, seeds)

    times = {}
    for key, kind in (("forward", forward), ("both", both)):
        runs = [kind(way) for way in ways.values()]
        for run in runs:
            median(clock.seconds(run, _WARM))
        times[key] = dict(zip(ways, clock.rounds(runs, rounds), strict=True))
    return times
