"""What is measured of the parameters of a model in one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from normadvisor.probe.recording.layers import Held, Layer
from normadvisor.probe.recording.norms import Number, all_squares, local, real
from normadvisor.probe.recording.sampling import Sampler
from normadvisor.probe.recording.transfer import Transfer

__all__ = ["ParameterNumbers", "Parameters", "totals"]

_FIELDS = 7
_WIDE = frozenset({torch.float32, torch.float64})


@dataclass(slots=True, eq=False)
class ParameterNumbers:
    """Sums over the values of one parameter; gradients are those of the scaled loss."""

    held: Held
    trainable: bool
    gradient: Number = 0.0
    """Sum of squares."""
    gradient_size: int = 0
    """Values, 0 without a gradient."""
    gradient_nonfinite: int | None = None
    weight: Number = 0.0
    weight_size: int = 0
    change: Number = 0.0
    change_size: int = 0
    """Values of the parameter, 0 where its change was not measured."""
    before: torch.Tensor | None = None

    def sums(self) -> list[float]:
        """What adds up over the shards of a parameter."""
        gradient, weight, change = float(self.gradient), float(self.weight), float(self.change)
        sizes = [float(size) for size in (self.gradient_size, self.weight_size, self.change_size)]
        return [gradient, weight, change, *sizes, float(self.nonfinite)]

    def take(self, sums: list[float]) -> None:
        """Put sums over all shards in the place of those of this one."""
        self.gradient, self.weight, self.change = sums[:3]
        self.gradient_size, self.weight_size, self.change_size, self.gradient_nonfinite = (int(number) for number in sums[3:])

    @property
    def nonfinite(self) -> int:
        """Gradient values that are not finite; at least one where they were not counted but the sum tells of one."""
        if self.gradient_nonfinite is not None:
            return self.gradient_nonfinite
        return int(not math.isfinite(float(self.gradient)))


class Parameters:
    """Gradients, weights and their change of every parameter.

    Args:
        held: each once.
        sampler: says which values of a large one tell how it changed.

    """

    def __init__(self, held: Iterable[Held], sampler: Sampler) -> None:
        self._sampler = sampler
        self.numbers = [ParameterNumbers(each, each.parameter.requires_grad) for each in held]

    def read(self) -> None:
        """Read gradients and weights as they are now."""
        having = [(each, gradient) for each in self.numbers if (gradient := each.held.parameter.grad) is not None]
        for (each, gradient), (total, nonfinite) in zip(having, all_squares([gradient for _, gradient in having]), strict=True):
            each.gradient, each.gradient_nonfinite, each.gradient_size = total, nonfinite, local(gradient).numel()
        weights = [(each, values) for each in self.numbers if (values := real(local(each.held.parameter))).is_floating_point()]
        for (each, values), (total, _) in zip(weights, all_squares([values for _, values in weights]), strict=True):
            each.weight, each.weight_size = total, local(each.held.parameter).numel()
            if each.trainable:
                each.before = self._sampler.parameter(values)

    def changed(self) -> None:
        """Compare the weights with what they were in :meth:`read`."""
        moved: list[tuple[ParameterNumbers, torch.Tensor, float]] = []
        for each in self.numbers:
            before, each.before = each.before, None
            if before is None:
                continue
            values = real(local(each.held.parameter))
            after = self._sampler.parameter(values)
            if after.shape == before.shape:
                change = after - before if after.dtype in _WIDE else after.float() - before.float()
                moved.append((each, change, values.numel() / max(after.numel(), 1)))
        for (each, _, factor), (total, _) in zip(moved, all_squares([change for _, change, _ in moved]), strict=True):
            each.change, each.change_size = total * factor, each.weight_size

    def send(self, transfer: Transfer) -> None:
        """Ask for what is still on an accelerator."""
        for each in self.numbers:
            for name in ("gradient", "weight", "change"):
                value = getattr(each, name)
                if isinstance(value, torch.Tensor):
                    transfer.add(value, _assigned(each, name))

    def combine(self, function: Callable[[torch.Tensor], None]) -> None:
        """Let ``function`` add up, in place, the sums of all ranks: a float64 tensor on the CPU, ``(7 * parameters,)``."""
        vector = torch.tensor([number for each in self.numbers for number in each.sums()], dtype=torch.float64)
        function(vector)
        sums: list[float] = vector.tolist()
        for index, each in enumerate(self.numbers):
            each.take(sums[_FIELDS * index : _FIELDS * (index + 1)])

    def by_layer(self) -> dict[Layer, list[ParameterNumbers]]:
        """The parameters of each layer that has any."""
        found: dict[Layer, list[ParameterNumbers]] = {}
        for each in self.numbers:
            found.setdefault(each.held.layer, []).append(each)
        return found


def _assigned(numbers: ParameterNumbers, name: str) -> Callable[[list[float]], None]:
    return lambda found: setattr(numbers, name, found[0])


def totals(numbers: Iterable[ParameterNumbers], scale: float) -> dict[str, float]:
    """Numbers of several parameters together, by key of :data:`normadvisor.types.LAYER_SERIES`; what was not measured is missing."""
    numbers = list(numbers)
    found: dict[str, float] = {}
    having = [each for each in numbers if each.gradient_size]
    if having:
        norm = math.sqrt(sum(float(each.gradient) for each in having)) / scale
        found["grad_norm"] = norm
        found["grad_rms"] = norm / math.sqrt(sum(each.gradient_size for each in having))
        weights = [each for each in having if each.held.dims > 1]
        if weights:
            found["weight_grad_norm"] = math.sqrt(sum(float(each.gradient) for each in weights)) / scale
        found["grad_nonfinite"] = float(sum(each.nonfinite for each in having))
    if any(each.weight_size for each in numbers):
        found["weight_norm"] = math.sqrt(sum(float(each.weight) for each in numbers))
    moved = [each for each in numbers if each.change_size]
    weight = sum(float(each.weight) for each in moved)
    if moved and weight > 0:
        found["update_ratio"] = math.sqrt(sum(float(each.change) for each in moved) / weight)
    return found
