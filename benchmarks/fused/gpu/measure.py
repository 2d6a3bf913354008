"""One operation at one shape: whether it is right, and how long it takes, in every way there is to compute it."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch

from benchmarks.fused.gpu.clock import Clock
from benchmarks.fused.gpu.operations import OPERATIONS, Inputs, Operation, draw
from benchmarks.fused.gpu.peers import peers
from benchmarks.fused.gpu.shapes import Case
from normadvisor.fused.common.reference import relative_error

__all__ = ["FLOOR", "ROUNDS", "error", "failure", "measure"]

ROUNDS = 7
"""Rounds in which all ways take turns, of three calls each."""
FLOOR = 4.0
"""Rounding steps of the dtype up to which an error counts as none, whatever that of eager is."""
_WARM = 3
_NEAR = 32.0
"""Rounding steps of the dtype around the kink of an activation in which errors are not looked at: on which side of it a value lies is a
matter of the last bit, and the gradient of one in a hundred million that is on the other side would be all that is seen."""

Way = Callable[[Inputs], Any]


def _outputs(found: Any) -> tuple[torch.Tensor, ...]:
    return tuple(found) if isinstance(found, tuple) else (found,)


def _seeds(outputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """A gradient for each output, that lies in memory as it does: each way gets what the layer behind it would give it.

    Eager's GroupNorm on a GPU gives contiguous outputs for channels_last inputs (until torch 2.15); gradients in its order would have to be
    transposed first by all who keep the order of the input.
    """
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
        ``error`` (in times of eager's) and ``both`` (seconds of forward and backward, one number a round), or ``failed``; for ``eager`` and
        ``fused`` also ``forward``, which ``torch.compile`` would have to compile once more for.

    """
    operation = OPERATIONS[case.operation]
    inputs = draw(case, operation, clock.device)
    found, ways = _errors(case, operation, inputs, backend)
    own = {name: way for name, way in ways.items() if name in {"eager", "fused"}}
    for key, kind, timed in (("forward", _forward, own), ("both", _both, ways)):
        for name, seconds in _times({name: kind(way, inputs) for name, way in timed.items()}, clock, rounds).items():
            found[name] = seconds if isinstance(seconds, dict) else {**found[name], key: seconds}
    return {**_told(case), "ways": found}


def failure(case: Case, problem: Exception) -> dict[str, Any]:
    """What :func:`measure` gives of a case in which it fails itself: too little memory, or a GPU that does not answer any more."""
    return {**_told(case), "ways": {"fused": _failed(problem)}}


def _told(case: Case) -> dict[str, Any]:
    operation = OPERATIONS[case.operation]
    size = prod(case.shape) * getattr(torch, case.dtype).itemsize
    return {
        "operation": case.operation, "shape": case.words, "dtype": case.dtype, "where": case.where,
        "bytes": size, "passes": {"forward": operation.forward, "both": operation.both},
    }  # fmt: skip


def _errors(case: Case, operation: Operation, inputs: Inputs, backend: str) -> tuple[dict[str, dict[str, Any]], dict[str, Way]]:
    """The error of each way, or why it fails; and the ways that do not."""
    seeds = _seeds(_outputs(operation.eager(inputs)))
    if operation.before is not None:
        with torch.no_grad():
            near = operation.before(inputs.to(torch.float64)).abs() < _NEAR * torch.finfo(inputs.data[0].dtype).eps
        seeds[0].masked_fill_(near, 0)
    exact = _everything(operation.eager, inputs.to(torch.float64), seeds)
    eager = _everything(operation.eager, inputs, seeds)
    ways: dict[str, Way] = {}
    found: dict[str, dict[str, Any]] = {}
    for name, way in (("eager", operation.eager), ("fused", operation.fused), *peers(case, backend=backend)):
        try:
            found[name] = {"error": error(_everything(way, inputs, seeds), eager, exact)}
            ways[name] = way
        except Exception as problem:  # noqa: BLE001 - that a way cannot be gone is a result
            found[name] = _failed(problem)
    return found, ways


def _failed(problem: Exception) -> dict[str, Any]:
    return {"failed": f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"}


def _forward(way: Way, inputs: Inputs) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad():
            return way(inputs)

    return run


def _both(way: Way, inputs: Inputs) -> Callable[[], object]:
    seeds: list[torch.Tensor] = []

    def run() -> object:
        outputs = _outputs(way(inputs))
        if not seeds:
            seeds.extend(_seeds(outputs))
        return torch.autograd.grad(outputs, inputs.differentiated, seeds)

    return run


def _times(runs: dict[str, Callable[[], object]], clock: Clock, rounds: int) -> dict[str, list[float] | dict[str, Any]]:
    """Seconds of each, one number a round; what fails instead."""
    times: dict[str, list[float] | dict[str, Any]] = {}
    for name, run in list(runs.items()):
        try:
            clock.seconds(run, _WARM)
        except Exception as problem:  # noqa: BLE001 - as above
            times[name] = _failed(problem)
            del runs[name]
    return {**times, **dict(zip(runs, clock.rounds(list(runs.values()), rounds), strict=True))}
