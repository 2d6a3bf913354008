"""Values for inputs that nobody gave: seeded, different in every batch, at the batch size that is wanted."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normadvisor.probe.running.samples import Batch, sample_axis
from normadvisor.probe.running.trees import map_tensors, named_tensors
from normadvisor.targets.inputs import Inputs

__all__ = ["Drawing", "batch_of", "smooth_noise"]

MIN_SIDE = 8
"""Images with sides of at least so many pixels are drawn with structure at every scale."""
_MASK = re.compile(r"mask|padding", re.IGNORECASE)
_POSITIONS = re.compile(r"position(_ids)?$|pos_ids$", re.IGNORECASE)
_PRIME = 1_000_003


def batch_of(inputs: Inputs) -> int:
    """Samples of inferred or given inputs: the first axis of the first tensor, the length of a list of images."""
    for value in (*inputs.args, *inputs.kwargs.values()):
        if isinstance(value, list | tuple) and value and all(isinstance(item, Tensor) and item.ndim == 3 for item in value):
            return len(value)
        for _, tensor in named_tensors(value):
            if tensor.ndim:
                return int(tensor.shape[0])
    return 1


def smooth_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Normal images of mean 0 and variance 1 with as much power in every octave, as photographs have (Field, 1987).

    White noise would be blind to what happens behind pooling: averaged over a map, all samples of it look the same.
    """
    *lead, height, width = shape
    planes = math.prod(lead)
    total = torch.zeros(planes, 1, height, width)
    sizes = [(max(1, height >> k), max(1, width >> k)) for k in range(max(height, width).bit_length())]
    for size in dict.fromkeys(sizes):
        octave = torch.randn(planes, 1, *size, generator=generator)
        if size != (height, width):
            octave = F.interpolate(octave, (height, width), mode="bilinear", align_corners=False)
        total += octave / math.sqrt(_left(size[0], height) * _left(size[1], width))
    return (total / math.sqrt(len(dict.fromkeys(sizes)))).reshape(shape)


@lru_cache(maxsize=256)
def _left(coarse: int, fine: int) -> float:
    """Mean variance that linear interpolation from ``coarse`` to ``fine`` points leaves of values of variance 1."""
    weights = F.interpolate(torch.eye(coarse)[None], fine, mode="linear", align_corners=False)[0]
    return float(weights.square().sum(0).mean())


@dataclass(slots=True)
class Drawing:
    """Draws batches for one model.

    Tensors that :mod:`normadvisor.targets.inputs` drew are drawn anew; those whose values mean something (boxes, grid sizes) are
    repeated. Masks are all set. Ids stay in the range of the inputs' own.

    Args:
        inputs: what the model takes.
        model: its embeddings bound ids of inputs without values (the meta device).
        size: samples wanted.
        seed: batch ``index`` depends on it and on ``index`` alone.

    """

    inputs: Inputs
    model: nn.Module
    size: int
    seed: int = 0
    _high: dict[str, int] = field(default_factory=dict)

    def batch(self, index: int) -> Batch:
        """Batch number ``index`` on the CPU."""
        generator = torch.Generator().manual_seed((self.seed * _PRIME + index) % 2**63)
        given = batch_of(self.inputs)
        args = tuple(self._value(value, str(i), given, generator) for i, value in enumerate(self.inputs.args))
        kwargs = {name: self._value(value, name, given, generator) for name, value in self.inputs.kwargs.items()}
        return Batch(args=args, kwargs=kwargs, size=self.size, key=index)

    @property
    def bytes(self) -> int:
        """Memory of one batch."""
        tensors = [tensor for _, tensor in named_tensors((self.inputs.args, self.inputs.kwargs))]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) * self.size // max(1, batch_of(self.inputs))

    def bound(self) -> int | None:
        """Draw ids below the smallest table of the model from now on, and say which size that is; ``None`` where it was so already."""
        sizes = [held.num_embeddings for held in self.model.modules() if isinstance(held, nn.Embedding | nn.EmbeddingBag)]
        smallest = min(sizes, default=0)
        larger = [name for name, high in self._high.items() if high > smallest]
        if not smallest or not larger:
            return None
        self._high.update(dict.fromkeys(larger, smallest))
        return smallest

    def _value(self, value: Any, name: str, given: int, generator: torch.Generator) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value, name, self._shape(value, given), given, generator)
        if isinstance(value, list) and len(value) == given and all(_is_sample(item) for item in value):
            chosen = [value[i % given] for i in range(self.size)]
            return [self._sample(item, name, generator) for item in chosen]
        if isinstance(value, Mapping):
            return {key: self._value(item, f"{name}.{key}", given, generator) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._value(item, f"{name}.{i}", given, generator) for i, item in enumerate(value))
        return value

    def _sample(self, item: Any, name: str, generator: torch.Generator) -> Any:
        """One entry of a list of samples: its tensors have no batch axis."""
        if isinstance(item, Mapping):
            return {key: self._sample(entry, f"{name}.{key}", generator) for key, entry in item.items()}
        return map_tensors(item, lambda tensor: self._tensor(tensor, name, tuple(tensor.shape), 0, generator))

    def _shape(self, tensor: Tensor, given: int) -> tuple[int, ...]:
        shape = list(tensor.shape)
        axis = sample_axis(tensor, given)
        if axis is not None:
            shape[axis] = shape[axis] // given * self.size
        return tuple(shape)

    def _tensor(self, tensor: Tensor, name: str, shape: tuple[int, ...], given: int, generator: torch.Generator) -> Tensor:
        kind = tensor.dtype
        if kind is torch.bool or (not kind.is_floating_point and not kind.is_complex and _MASK.search(name)):
            return _repeated(tensor, shape, given) if kind is torch.uint8 and not tensor.is_meta else torch.ones(shape, dtype=kind)
        if kind.is_complex:
            return torch.randn(shape, generator=generator, dtype=torch.complex64).to(kind)
        if kind.is_floating_point:
            if not tensor.is_meta and not _was_drawn(tensor):
                return _repeated(tensor, shape, given)
            return self._floats(shape, generator).to(kind)
        if _POSITIONS.search(name) and len(shape) >= 2:
            return torch.arange(shape[-1]).expand(shape).to(kind).clone()
        high = self._ids(tensor, name)
        if high is None:
            return _repeated(tensor, shape, given)
        return torch.randint(0, high, shape, generator=generator).to(kind)

    def _floats(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        image = len(shape) >= 3 and min(shape[-2:]) >= MIN_SIDE and (len(shape) >= 4 or shape[0] <= 4)
        return smooth_noise(shape, generator) if image else torch.randn(shape, generator=generator)

    def _ids(self, tensor: Tensor, name: str) -> int | None:
        """Ids are below this; ``None`` where the values mean something."""
        if name not in self._high:
            self._high[name] = _smallest_table(self.model) if tensor.is_meta else _drawn_below(tensor, self.model)
        return self._high[name] or None


def _is_sample(item: Any) -> bool:
    if isinstance(item, Tensor):
        return item.ndim == 3
    return isinstance(item, Mapping) and any(isinstance(entry, Tensor) for entry in item.values())


def _repeated(tensor: Tensor, shape: tuple[int, ...], given: int) -> Tensor:
    """The tensor's own samples over and over."""
    if tuple(tensor.shape) == shape or given == 0:
        return tensor.clone()
    axis = sample_axis(tensor, given) or 0
    rows = torch.arange(shape[axis]) % tensor.shape[axis]
    return tensor.index_select(axis, rows)


def _was_drawn(tensor: Tensor) -> bool:
    """Whether a tensor holds the values that inputs without meaning are filled with."""
    generator = torch.Generator().manual_seed(0)
    return torch.equal(torch.randn(tensor.shape, generator=generator).to(tensor.dtype), tensor.cpu())


def _drawn_below(tensor: Tensor, model: nn.Module) -> int:
    """The bound that ids were drawn below, found by drawing again; 0 where the values were not drawn."""
    if not tensor.numel():
        return 0
    lowest, highest = int(tensor.min()), int(tensor.max())
    if lowest < 0:
        return 0
    tables = {held.num_embeddings for held in model.modules() if isinstance(held, nn.Embedding | nn.EmbeddingBag)}
    near = range(highest + 1, highest + 101)
    same: Callable[[int], bool] = lambda high: torch.equal(  # noqa: E731
        torch.randint(0, high, tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor.dtype), tensor.cpu()
    )
    return next((high for high in (*near, *sorted(table for table in tables if table > highest)) if same(high)), 0)


def _smallest_table(model: nn.Module) -> int:
    """Ids below it fit every embedding, tables of up to 3 types aside."""
    sizes = [held.num_embeddings for held in model.modules() if isinstance(held, nn.Embedding | nn.EmbeddingBag)]
    return min([size for size in sizes if size > 3], default=min(sizes, default=2))
