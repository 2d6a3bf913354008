"""Samples of a batch: how many there are, and batches put together from samples of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from normadvisor.probe.running.trees import named_tensors

__all__ = ["Batch", "UnequalSamplesError", "count_samples", "gather", "sample_axis"]


class UnequalSamplesError(ValueError):
    """Samples of different batches do not fit into one: padded to other lengths, or not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Arguments for one forward pass, and what the loss compares the output with."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    target: Any = None
    """``None`` where the batch holds none."""
    whole: Any = None
    """The batch as the user's data gave it, on the device; ``None`` for drawn inputs."""
    size: int | None = None
    """Samples; ``None`` where they cannot be told apart."""
    key: int = 0
    """Of which random targets are drawn: the same for the same batch."""

    def replaced(self, **changes: Any) -> Self:
        """The batch with other values."""
        return replace(self, **changes)


def count_samples(inputs: Any, target: Any = None) -> int | None:
    """Samples of a batch: what most of its tensors agree on along their first axis, those of the target first.

    Sequences may have time along their first axis: then a target that has as many entries as there are samples decides.
    """
    if isinstance(target, Tensor) and target.ndim and not isinstance(inputs, PackedSequence):
        sizes = [tensor.shape for _, tensor in named_tensors(inputs) if tensor.ndim]
        if any(target.shape[0] in shape[:2] for shape in sizes):
            return int(target.shape[0])
    lists = _outer_list(inputs)
    if lists is not None:
        return lists
    firsts = [int(tensor.shape[0]) for _, tensor in named_tensors(inputs) if tensor.ndim]
    if not firsts:
        return None
    counted = Counter(firsts)
    most = max(counted.values())
    return next(size for size in firsts if counted[size] == most)


def _outer_list(inputs: Any) -> int | None:
    """Length of a list of samples, each a tensor without a batch axis, that is the first input."""
    first = inputs[0] if isinstance(inputs, tuple) and inputs else None
    if isinstance(first, list | tuple) and first and all(isinstance(item, Tensor) for item in first):
        channels = {tuple(item.shape[:-2]) for item in first}
        # Images of one number of channels: a list of feature maps has different ones, or a batch axis of four.
        return len(first) if len(channels) == 1 and all(item.ndim == 3 for item in first) else None
    return None


def sample_axis(tensor: Tensor, size: int) -> int | None:
    """Axis along which a tensor holds ``size`` samples (or ``size`` groups of rows, along axis 0); ``None`` if none does."""
    shape = tensor.shape
    if tensor.ndim and shape[0] == size:
        return 0
    if tensor.ndim > 1 and shape[1] == size:
        return 1
    if tensor.ndim and size > 1 and shape[0] > size and shape[0] % size == 0:
        return 0
    return None


def gather(batches: Sequence[Batch], picks: Sequence[tuple[int, int]], key: int = 0) -> Batch:
    """A batch whose samples are given as (position in ``batches``, sample of that batch).

    Raises:
        UnequalSamplesError: samples cannot be told apart, or differ in shape.

    """
    sizes = [batch.size for batch in batches]
    if any(size is None for size in sizes) or any(isinstance(tensor, PackedSequence) for tensor in batches[0].args):
        raise UnequalSamplesError("the samples of a batch cannot be told apart")
    known = [size for size in sizes if size is not None]

    def join(values: Sequence[Any]) -> Any:
        return _gathered(values, known, picks)

    return Batch(
        args=join([batch.args for batch in batches]),
        kwargs=join([dict(batch.kwargs) for batch in batches]),
        target=join([batch.target for batch in batches]),
        whole=join([batch.whole for batch in batches]),
        size=len(picks),
        key=key,
    )


def _gathered(values: Sequence[Any], sizes: Sequence[int], picks: Sequence[tuple[int, int]]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return _gathered_tensor(values, sizes, picks)
    if isinstance(first, list | tuple) and len(first) == sizes[0] and _are_samples(first, sizes[0]):
        return type(first)([values[batch][sample] for batch, sample in picks])
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(_gathered([value[i] for value in values], sizes, picks) for i in range(len(first))))
    if isinstance(first, list | tuple):
        return type(first)([_gathered([value[i] for value in values], sizes, picks) for i in range(len(first))])
    if isinstance(first, Mapping):
        items = {name: _gathered([value[name] for value in values], sizes, picks) for name in first}
        if type(first) is dict:
            return items
        try:
            return type(first)(items)  # type: ignore[call-arg]
        except (TypeError, ValueError):
            return items
    return first


def _are_samples(items: Sequence[Any], size: int) -> bool:
    """Whether a list holds one entry per sample rather than whole tensors of the batch."""
    return not any(isinstance(item, Tensor) and item.ndim and item.shape[0] == size and item.ndim != 3 for item in items)


def _gathered_tensor(values: Sequence[Any], sizes: Sequence[int], picks: Sequence[tuple[int, int]]) -> Tensor:
    axes = [sample_axis(value, size) for value, size in zip(values, sizes, strict=True)]
    if axes[0] is None:
        return torch.as_tensor(values[0])
    if any(axis != axes[0] for axis in axes):
        raise UnequalSamplesError("tensors of different batches hold their samples along different axes")
    axis = axes[0]
    rows = [value.shape[axis] // size for value, size in zip(values, sizes, strict=True)]
    if len(set(rows)) > 1:
        raise UnequalSamplesError("tensors of different batches hold a different number of rows per sample")
    parts = [values[batch].narrow(axis, sample * rows[0], rows[0]) for batch, sample in picks]
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) > 1:
        raise UnequalSamplesError("samples of different batches differ in shape")
    return torch.cat(parts, axis)
