"""From the way a trial failed to better guesses: channels, ranks, dtypes and spatial sizes read off the failure."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from normadvisor.targets.inputs import messages
from normadvisor.targets.inputs.failure import Failure, read_failure
from normadvisor.targets.inputs.layers import BATCH, layer_input
from normadvisor.targets.inputs.plan import Plan
from normadvisor.targets.inputs.sizes import (
    MAX_LENGTH,
    MAX_SIZE,
    inverse,
    order_of,
    recounted,
    reranked,
    resized,
    resized_together,
    sizes_for_features,
    sizes_for_positions,
)  # fmt: skip

__all__ = ["Adapter"]

_EVEN_SIZES = (224, 256, 448, 512, 560, 640)
"""Image sizes that windows of 2 to 16 patches tile."""


@dataclass(slots=True)
class Adapter:
    """Proposes changes to plans that failed; remembers sizes it has seen, to interpolate between them."""

    seen: dict[tuple[int | str, int], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    def proposals(self, plan: Plan, error: BaseException) -> Iterator[Plan]:
        """Better guesses, the most likely first; may repeat plans that were tried."""
        failure = read_failure(error)
        sources = (
            self._missing, self._multiple, self._layer, self._dtype, self._features, self._size_named, self._broadcast, self._rank,
            self._grow, self._untiled,
        )  # fmt: skip
        yield from itertools.chain.from_iterable(source(plan, failure) for source in sources)

    def _missing(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """An argument that was left out is asked for by name, or is ``None`` where it is used."""
        cache = "cache" in failure.text.lower() or "past_key_values" in failure.absent
        for name in [*(["use_cache"] if cache else []), *failure.absent]:
            if completed := plan.completed([name]):
                yield completed

    def _multiple(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """A length has to be a multiple of a number: round it up wherever it stands."""
        factor = messages.multiple_of(failure.text)
        if factor is None or factor > MAX_LENGTH:
            return
        named = {int(number) for number in re.findall(r"\d+", failure.text)} - {factor}
        lengths = sorted({size for _, spec in plan.tensors() for size in spec.shape[1:] if size in named and size % factor})
        for length in lengths:
            rounded = -(-length // factor) * factor
            grown = plan
            for place, spec in plan.tensors():
                if length in spec.shape[1:]:
                    grown = grown.reshaped(place, (spec.shape[0], *(rounded if size == length else size for size in spec.shape[1:])))
            yield grown

    def _dtype(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        if messages.wants_integers(failure.text):
            for place, spec in plan.tensors():
                if spec.dtype == "float32":
                    yield plan.put(place, replace(spec, dtype="int64"))
        if messages.wants_floats(failure.text):
            for place, spec in plan.tensors():
                if spec.dtype == "int64":
                    yield plan.put(place, replace(spec, dtype="float32"))

    def _layer(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """The layer that failed says what it takes."""
        wanted = layer_input(failure.layer) if failure.layer is not None else None
        if failure.shape is None or wanted is None:
            return
        got = failure.shape
        for place, spec in plan.tensors():
            if spec.shape == got and len(got) != len(wanted.shape):
                yield plan.put(place, wanted)
            order = order_of(spec.shape, got)
            if order and len(got) == len(wanted.shape) and _channels_differ(got, wanted.shape):
                yield plan.reshaped(place, inverse(wanted.shape, order))
        first = len(wanted.shape) > 2 and len(got) == len(wanted.shape) and wanted.shape[-1] != _width(failure)
        axis = 1 if first else len(got) - 1
        need = wanted.shape[min(axis, len(wanted.shape) - 1)]
        if 0 <= axis < len(got) and got[axis] != need:
            yield from recounted(plan, got[axis], need)

    def _features(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """A flattened feature map met a layer of a fixed width: solve for the spatial size."""
        pair = _feature_pair(plan, failure)
        if pair is None:
            return
        got, need = pair
        if not messages.cannot_be_viewed(failure.text):
            yield from recounted(plan, got, need)
        for place, spec in plan.tensors():
            dims = min(len(spec.shape) - 2, 2)  # the frames of a clip stay as many
            if dims < 1 or spec.dtype == "int64":
                continue
            size = spec.shape[-1]
            whole = size * (need / got) ** 0.5
            if len(spec.shape) == 5 and abs(whole - round(whole)) > 1e-6:
                # No height and width give it with as many frames: all three grow.
                factor = (need / got) ** (1 / 3)
                yield plan.reshaped(place, (*spec.shape[:2], *(max(1, round(length * factor)) for length in spec.shape[2:])))
            known = self.seen[place, need]
            known[size] = got
            for new in sizes_for_features(known, size, got, need, dims):
                yield resized_together(plan, spec.shape, new)
                yield plan.reshaped(place, resized(spec.shape, new))

    def _size_named(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """The model itself says which image size it takes."""
        numbers = messages.image_sizes(failure.text)
        images = [(place, spec) for place, spec in plan.tensors() if len(spec.shape) >= 4]
        if len(numbers) == 4 and numbers[0] and numbers[1]:
            # Sides grow by what the model wants over what it saw: some join several images before they look.
            scaled = plan
            for place, spec in images:
                height, width = spec.shape[-2] * numbers[2] // numbers[0], spec.shape[-1] * numbers[3] // numbers[1]
                scaled = scaled.reshaped(place, (*spec.shape[:-2], max(height, 1), max(width, 1)))
            yield scaled
        for number, (place, spec) in itertools.product(numbers, images):
            if number != spec.shape[-1] and 8 <= number <= MAX_SIZE:
                yield plan.reshaped(place, resized(spec.shape, number))

    def _broadcast(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """Two sizes had to agree: a table of positions, or two branches whose sizes were rounded apart."""
        for one, other in messages.disagreements(failure.text):
            for place, spec in plan.tensors():
                if one in spec.shape[1:] or other in spec.shape[1:]:
                    old, new = (one, other) if one in spec.shape[1:] else (other, one)
                    yield plan.reshaped(place, (spec.shape[0], *(new if size == old else size for size in spec.shape[1:])))
                if len(spec.shape) >= 3 and spec.dtype != "int64":
                    for size in sizes_for_positions(spec.shape, one, other):
                        yield plan.reshaped(place, resized(spec.shape, size))
            if abs(one - other) <= 4:
                for size, (place, spec) in itertools.product((256, 64, 128, 512), plan.tensors()):
                    if len(spec.shape) >= 3 and spec.shape[-1] != size:
                        yield plan.reshaped(place, resized(spec.shape, size))

    def _rank(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        ranks = messages.ranks(failure.text)
        if not ranks and ("Dimension out of range" in failure.text or "index out of range" in failure.text):
            ranks = sorted({len(spec.shape) + 1 for _, spec in plan.tensors()})
        for place, spec in plan.tensors():
            if len(spec.shape) >= 3 and len(spec.shape) in messages.lost_an_axis(failure.text):
                yield plan.reshaped(place, (spec.shape[0], 1, *spec.shape[1:]))
        for rank, (place, spec) in itertools.product(ranks, plan.tensors()):
            if rank != len(spec.shape) and 1 <= rank <= 5:
                yield plan.reshaped(place, reranked(spec.shape, rank))

    def _grow(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        if not messages.too_small(failure.text):
            return
        grown = plan
        for place, spec in plan.tensors():
            if len(spec.shape) >= 3 and spec.dtype != "int64" and max(spec.shape[2:]) * 2 <= MAX_SIZE:
                shape = (*spec.shape[:2], *(max(size * 2, 4) for size in spec.shape[2:]))
                grown = grown.reshaped(place, shape)
                yield plan.reshaped(place, shape)
        if grown is not plan:
            yield grown

    def _untiled(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """Windows that do not tile an image: sizes with many divisors."""
        if not messages.cannot_be_viewed(failure.text) and "divisible" not in failure.text:
            return
        for size, (place, spec) in itertools.product(_EVEN_SIZES, plan.tensors()):
            if len(spec.shape) >= 4 and spec.shape[-1] > 32 and spec.shape[-1] != size:
                yield plan.reshaped(place, resized(spec.shape, size))


def _width(failure: Failure) -> int | None:
    """Width that a layer takes along its last axis, for layers that read the last axis."""
    for name in ("in_features", "input_size", "embed_dim"):
        if isinstance(width := getattr(failure.layer, name, None), int):
            return width
    shape = getattr(failure.layer, "normalized_shape", None)
    return shape[-1] if shape else None


def _channels_differ(got: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return got[1] != wanted[1] if len(got) > 2 else got[-1] != wanted[-1]


def _feature_pair(plan: Plan, failure: Failure) -> tuple[int, int] | None:
    """Features that came and features that were needed, per sample."""
    batch = next((spec.shape[0] for _, spec in plan.tensors() if spec.shape), BATCH)
    if messages.cannot_be_viewed(failure.text):
        return messages.flattened(failure.text, batch)
    width = _width(failure)
    if width and failure.shape and failure.shape[-1] != width:
        return failure.shape[-1], width
    return messages.flattened(failure.text, batch)
