"""What was seen of one step, until it is made numbers."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from normadvisor.probe.recording.activations import Run, Samples, call_growth, exact_moments, extremes, joined
from normadvisor.probe.recording.batch_statistics import BatchStatistics
from normadvisor.probe.recording.layers import Layer
from normadvisor.probe.recording.norms import Number, local, real, some_squares, squares
from normadvisor.probe.recording.sampling import Sampler
from normadvisor.probe.recording.transfer import Transfer
from normadvisor.probe.recording.units import Flat, alike_units, dead_units, flat_parts, unit_axis
from normadvisor.types import GROUPS

__all__ = ["Seen", "Step"]


_MAPS = frozenset(GROUPS["linear_map"])
_NORMS = frozenset(GROUPS["norm"])
_POSITIONS = 16
"""Positions at which units are compared where all of them are measured."""


@dataclass(slots=True, eq=False)
class Seen:
    """What was seen of one layer in one step."""

    runs: list[Run] = field(default_factory=list)
    calls: int = 0
    activated: list[Run] = field(default_factory=list)
    """Outputs of the function that is applied to the layer's output."""
    dead: dict[tuple[str, int], torch.Tensor] = field(default_factory=dict)
    dead_counts: list[float] = field(default_factory=list)
    alike: list[tuple[torch.Tensor, int]] = field(default_factory=list)
    """Number of units that are copies of another one, and of units, by run."""
    alike_counts: list[float] = field(default_factory=list)
    gradients: list[tuple[Number, int]] = field(default_factory=list)
    """Sum of squares and size of each gradient that arrived at an output."""
    gaps: list[list[float]] = field(default_factory=list)
    """Mean squares of BatchNorm's distances of mean and of variance, by run."""


class Step:
    """One step that is being recorded.

    Args:
        sampler: says which values are looked at.
        exact: look at all of them.

    """

    def __init__(self, sampler: Sampler, *, exact: bool) -> None:
        self._sampler = sampler
        self._exact = exact
        self._samples = Samples()
        self._made: dict[int, tuple[weakref.ref[torch.Tensor], Layer]] = {}
        self._latest: Layer | None = None
        self.transfer = Transfer()
        self.statistics = BatchStatistics()
        self.seen: dict[Layer, Seen] = {}
        self.passes = 0
        """Forward passes of the whole model."""
        self.batch: int | None = None
        """Samples in the input of the latest pass."""

    def of(self, layer: Layer) -> Seen:
        """What was seen of ``layer``."""
        found = self.seen.get(layer)
        if found is None:
            found = self.seen[layer] = Seen()
        return found

    def maker(self, tensor: torch.Tensor) -> Layer | None:
        """The layer whose output this very tensor is."""
        made = self._made.get(id(tensor))
        return made[1] if made is not None and made[0]() is tensor else None

    def output(self, layer: Layer, given: Any, output: torch.Tensor) -> None:
        """Measure an output of a layer; ``given`` is its first input."""
        front = self.maker(given) if isinstance(given, torch.Tensor) else None
        self._made[id(output)] = (weakref.ref(output), layer)
        seen = self.of(layer)
        values = _values(output)
        if values is None:
            return
        axis = unit_axis(layer, values, front or self._latest)
        layer.units, layer.axis = values.shape[axis], -1 if axis == values.dim() - 1 else axis
        self._latest = layer
        seen.runs.append(self._measured(layer, values, axis, flat_parts(layer.op, layer.module), front, full=True))

    def applied(self, layer: Layer, parts: Flat | None, output: torch.Tensor, *, own: bool) -> None:
        """Measure what a function without a module of its own made of a layer's output (or, ``own``, of what no layer made)."""
        values = _values(output)
        if values is None:
            return
        front = self._latest if own else layer
        axis = unit_axis(layer, values, front) if own else _same_axis(layer, values)
        seen = self.of(layer)
        if own:
            layer.units, layer.axis = values.shape[axis], -1 if axis == values.dim() - 1 else axis
            seen.calls += 1
        run = self._measured(layer, values, axis, parts, None, full=own)
        (seen.runs if own else seen.activated).append(run)

    def _measured(self, layer: Layer, values: torch.Tensor, axis: int, parts: Flat | None, front: Layer | None, *, full: bool) -> Run:
        run = Run(values.numel(), saturated=math.nan if parts is not None and parts.saturates else None)
        if not run.size:
            return run
        if full:
            extremes(values, run, self.transfer, exact=self._exact)
            # What is no longer laid out by samples, such as windows of images, tells nothing about them.
            if self.batch is not None and values.shape[0] == self.batch > 1 and values.dim() > 1 and layer.op in _NORMS:
                self.transfer.add(self._sampler.between_samples(values), run.receive_between)
        sample: torch.Tensor | None = None
        whole = self._exact
        if self._exact:
            exact_moments(values, run, parts, self.transfer)
        else:
            sample, whole = self._sampler.units(values, axis)
            self._samples.add(sample, run, parts)
        # The least share over the steps counts, and below zero there is none.
        if layer.op in _MAPS and full and layer.alike != 0 and run.size > values.shape[axis]:
            every = values.movedim(axis, -1).reshape(-1, values.shape[axis])[:_POSITIONS] if sample is None else sample
            self.of(layer).alike.append((alike_units(every), values.shape[axis]))
        if parts is not None and layer.op != "rnn":  # whose units feed one another
            every = values.movedim(axis, -1).reshape(-1, values.shape[axis]) if sample is None else sample
            self._note_dead(layer, dead_units(every, values, axis, parts, whole=whole), front)
        return run

    def _note_dead(self, layer: Layer, dead: torch.Tensor, front: Layer | None) -> None:
        """Units behind the same layer are the same in every run (a cell that runs once per word); behind another they are others."""
        key = (front.name if front is not None else "", dead.numel())
        known = self.of(layer).dead
        known[key] = known[key] & dead if key in known else dead

    def gradient(self, layer: Layer, gradient: torch.Tensor) -> None:
        """Take the gradient of a layer's output."""
        values = local(gradient)
        total = squares(values)[0] if self._exact else some_squares(values, self._sampler.round)
        self.of(layer).gradients.append((total, values.numel()))

    def reduce(self, failed: Callable[[str, Exception], None]) -> None:
        """Put what is left to compute on its way; ``failed`` is told of a kind of numbers that cannot be had."""
        for what, part in (("samples of outputs", self._samples), ("statistics of batches", self.statistics)):
            try:
                part.reduce(self.transfer)
            except Exception as error:  # noqa: BLE001 - one kind of numbers must not take the others along
                failed(what, error)
        for seen in self.seen.values():
            for mask in seen.dead.values():
                self.transfer.add(mask.sum(), _appended(seen.dead_counts))
            for alike, _ in seen.alike:
                self.transfer.add(alike, _appended(seen.alike_counts))
            for index, (total, size) in enumerate(seen.gradients):
                if isinstance(total, torch.Tensor):
                    self.transfer.add(total, _replaced(seen.gradients, index, size))

    def numbers(self, layer: Layer, scale: float) -> dict[str, float]:
        """What was measured of a layer's outputs, by key of :data:`normadvisor.types.LAYER_SERIES`, once the transfer ran."""
        seen = self.seen.get(layer)
        if seen is None:
            return {}
        found = joined(seen.runs)
        if seen.activated:
            found |= {key: value for key, value in joined(seen.activated).items() if key in {"zero_share", "saturated_share"}}
        if seen.dead_counts:
            found["dead_share"] = sum(seen.dead_counts) / sum(units for _, units in seen.dead)
        if self.passes == 1:
            found |= call_growth(seen.runs)
        size = sum(size for _, size in seen.gradients)
        if size:
            norm = math.sqrt(sum(float(total) for total, _ in seen.gradients)) / scale
            found |= {"act_grad_norm": norm, "act_grad_rms": norm / math.sqrt(size)}
        if seen.gaps:
            means, variances = zip(*seen.gaps, strict=True)
            found |= {"bn_mean_gap": _root(means), "bn_var_gap": _root(variances)}
        return found


def _values(output: torch.Tensor) -> torch.Tensor | None:
    """Values to measure, at least one dimension; ``None`` where they are no real or complex numbers, or in no order.

    Raises:
        TypeError: the tensor stands for others, of a transform that will be over when its values are looked at.

    """
    if torch._C._functorch.is_functorch_wrapped_tensor(output):  # noqa: SLF001 - there is no public way to ask
        raise TypeError("it runs inside a transform of torch.func")
    values = local(output)
    if values.layout is not torch.strided or values.is_quantized or values.is_meta:
        return None
    values = real(values)
    if not values.is_floating_point():
        return None
    return values if values.dim() else values.reshape(1)


def _same_axis(layer: Layer, values: torch.Tensor) -> int:
    axis = layer.axis if layer.axis is not None else -1
    return axis if 0 <= axis < values.dim() else values.dim() - 1


def _root(numbers: tuple[float, ...]) -> float:
    return math.sqrt(sum(numbers) / len(numbers))


def _appended(counts: list[float]) -> Callable[[list[float]], None]:
    return counts.extend


def _replaced(gradients: list[tuple[Number, int]], index: int, size: int) -> Callable[[list[float]], None]:
    def receive(numbers: list[float]) -> None:
        gradients[index] = (numbers[0], size)

    return receive
