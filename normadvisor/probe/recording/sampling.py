"""Which values of a large tensor are looked at: other positions in every step, all channels at each, from a generator of our own."""

from __future__ import annotations

import torch

from normadvisor.probe.recording.norms import flat

__all__ = ["Sampler"]

_VALUES = 8192
"""Values of an output that are looked at. The mean of so many independent values is off by about 1 % of a standard deviation; values of one
image are not independent, which is why positions change from step to step."""
_FEWEST = 16
"""Positions, however many channels there are."""
_BETWEEN = 2048
"""Values that tell how samples of a batch differ."""
_SAMPLES = 256
_BLOCK = 1 << 20
_PARAMETERS = 2048
"""Values of a parameter whose change is measured."""


class Sampler:
    """Draws positions, stratified: one in each of equally long pieces, so that none is drawn twice.

    Args:
        seed: the same seed draws the same positions; no other generator is touched.
        exact: look at everything.

    """

    def __init__(self, seed: int, *, exact: bool) -> None:
        self._seed = seed
        self._exact = exact
        self.round = 0
        """How often positions were renewed."""
        self._generators: dict[torch.device, torch.Generator] = {}
        self._drawn: dict[tuple[torch.device, int, int], torch.Tensor] = {}
        self._split: dict[tuple[torch.device, int, int, int], tuple[torch.Tensor, torch.Tensor]] = {}

    def renew(self) -> None:
        """Draw other positions from now on."""
        self.round += 1
        self._drawn.clear()
        self._split.clear()

    def positions(self, total: int, wanted: int, device: torch.device) -> torch.Tensor:
        """``wanted`` of the numbers below ``total`` in ascending order, int64; the same ones until :meth:`renew`."""
        key = (device, total, wanted)
        if key not in self._drawn:
            generator = self._generators.get(device)
            if generator is None:
                generator = self._generators[device] = torch.Generator(device).manual_seed(self._seed)
            wide = torch.float32 if device.type == "mps" else torch.float64
            shifts = torch.rand(wanted, generator=generator, device=device, dtype=wide)
            pieces = torch.arange(wanted, device=device, dtype=wide)
            self._drawn[key] = ((pieces + shifts) * (total / wanted)).long().clamp_max_(total - 1)
        return self._drawn[key]

    def units(self, tensor: torch.Tensor, axis: int) -> tuple[torch.Tensor, bool]:
        """A copy of some values, ``(positions, units)``, and whether it holds all of them.

        Args:
            tensor: detached, not empty, at least one dimension.
            axis: of the units.

        """
        units = tensor.shape[axis]
        total = tensor.numel() // units
        wanted = max(_VALUES // units, _FEWEST)
        if total <= wanted:
            return tensor.movedim(axis, -1).reshape(-1, units).clone(), True
        moved = tensor.movedim(axis, -1)
        if moved.is_contiguous():
            return moved.view(-1, units).index_select(0, self.positions(total, wanted, tensor.device)), False
        if tensor.is_contiguous():
            length = total // tensor.shape[:axis].numel()
            first, last = self._pairs(total, wanted, length, tensor.device)
            return tensor.view(-1, units, length)[first, :, last], False
        places = torch.unravel_index(self.positions(total, wanted, tensor.device), moved.shape[:-1])
        return moved[places], False

    def between_samples(self, tensor: torch.Tensor) -> torch.Tensor:
        """Variance over the samples (axis 0, at least 2 of them), corrected, mean over places: float64, no dimensions.

        Places are drawn unless exact, and of a very large batch the first samples are looked at.
        """
        inner = sorted(range(1, tensor.dim()), key=tensor.stride, reverse=True)
        values = tensor.permute(0, *inner).reshape(tensor.shape[0], -1)
        wide = torch.float32 if tensor.device.type == "mps" else torch.float64
        if self._exact:
            blocks = torch.split(values, max(_BLOCK // values.shape[0], 1), dim=1)
            return torch.stack([block.to(wide).var(0).sum() for block in blocks]).sum() / values.shape[1]
        whole = values.numel() <= _VALUES
        values = values[:_SAMPLES]
        wanted = max(_BETWEEN // values.shape[0], _FEWEST)
        if values.shape[1] > wanted and not whole:
            values = values.index_select(1, self.positions(values.shape[1], wanted, tensor.device))
        if values.dtype not in {torch.float32, torch.float64}:
            values = values.float()
        # Much faster than var() of so few rows.
        moved = values - values.mean(0)
        return moved.square().sum().to(wide) / (moved.shape[1] * (moved.shape[0] - 1))

    def _pairs(self, total: int, wanted: int, length: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions as places before and behind the channels, ``length`` of which stand behind."""
        key = (device, total, wanted, length)
        if key not in self._split:
            positions = self.positions(total, wanted, device)
            self._split[key] = (positions.div(length, rounding_mode="floor"), positions.remainder(length))
        return self._split[key]

    def parameter(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of some values of a parameter, the same places until :meth:`renew`; all of a small one, or if exact."""
        values = flat(tensor)
        if self._exact or values.numel() <= _PARAMETERS:
            return values.clone()
        return values.index_select(0, self.positions(values.numel(), _PARAMETERS, values.device))
