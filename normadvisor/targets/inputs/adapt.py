"""From the way a trial failed to better guesses: channels, ranks, dtypes and spatial sizes read off the failure."""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from normadvisor.targets.inputs.failure import Failure, read_failure
from normadvisor.targets.inputs.layers import BATCH, layer_input
from normadvisor.targets.inputs.plan import Plan
from normadvisor.targets.inputs.spec import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Adapter"]

_USUAL_SIZES = (28, 32, 64, 84, 96, 112, 128, 160, 192, 224, 227, 256, 299, 320, 384, 448, 512, 640)
"""Image sizes that models are written for; one close to a computed size is tried before it."""
MAX_SIZE = 2048
"""Largest height or width tried."""
MAX_LENGTH = 2**20
"""Largest length of a one-dimensional signal tried."""

_FLOATING = re.compile(r"scalar types: Long, Int|expected scalar type (Long|Int)|must be (long|int)|to be (one of )?.*(Long|int64)|indices.* (Long|int)|used as indices")
_INTEGRAL = re.compile(
    r"must have the same dtype, but got (Long|Int)|Input type \((long|int)|not implemented for '(Long|Int)'|can only .*floating|"
    r"expected .*(float|Float).* but (got|found) .*(Long|Int|int64)|floating point dtypes|Input dtype must be either a floating",
)
_KERNEL = re.compile(
    r"Kernel size can't be greater|Output size is too small|more than 1 (value per channel|spatial element)|Padding size should be less|"
    r"non-empty|must be greater than zero|should be greater than|too small|negative dimension|has size 0|zero-size|output size must be positive",
)
_VIEW = re.compile(r"shape '\[([-\d, ]+)\]' is invalid for input of size (\d+)")
_MISMATCH = re.compile(r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)")
_BROADCAST = re.compile(r"Mismatching argument at index \d+ had (?:torch\.Size\()?\[([\d, ]+)\]\)?; but expected shape should be broadcastable to (?:torch\.Size\()?\[([\d, ]+)\]")
_CAT = re.compile(r"Sizes of tensors must match except in dimension \d+\. Expected(?: size)? (\d+)(?: in dimension \d+)? but got(?: size)? (\d+)")
_MULTIPLE = re.compile(r"multiple of[^\d]*?(?:`[^`]*` ?\()?(\d+)")
_UNPACK = re.compile(r"(?:not enough|too many) values to unpack \(expected (\d+)")
_RANK = re.compile(
    r"dims\) = (\d)|expected (\d)D (?:or \dD )?input|[Ee]xpected(?: input to have)? (\d) dim|(\d)D tensor expected|[Ee]xpected (\d)-?D\b|must be (?:an? )?(\d)D|(\d)-dimensional",
)
_PRODUCT = re.compile(r"reduction dim, but got \[(\d+), (\d+)\] X \[(\d+), (\d+)\]|cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)")
_IMAGE_SIZE = re.compile(r"(\d{2,4})\s*[*x×,]\s*(\d{2,4})\D+(\d{2,4})\s*[*x×,]\s*(\d{2,4})|[Ii]nput (?:image )?(?:height|width|size)\D*(\d{2,4})\D+(\d{2,4})")


@dataclass(slots=True)
class Adapter:
    """Proposes changes to plans that failed; remembers sizes it has seen, to interpolate between them."""

    seen: dict[tuple[int | str, int], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    def proposals(self, plan: Plan, error: BaseException) -> Iterator[Plan]:
        """Better guesses, the most likely first; may repeat plans that were tried."""
        failure = read_failure(error)
        sources = (
            self._missing, self._multiple, self._layer, self._dtype, self._features, self._size_named, self._broadcast, self._rank, self._grow,
            self._other_sizes,
        )  # fmt: skip
        yield from itertools.chain.from_iterable(source(plan, failure) for source in sources)

    def _missing(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """An argument that was left out is asked for by name, or is ``None`` where it is used."""
        for name in failure.absent:
            if completed := plan.completed([name]):
                yield completed

    def _multiple(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """A length has to be a multiple of a number: round it up wherever it stands."""
        match = _MULTIPLE.search(failure.text)
        factor = int(match[1]) if match else 0
        if not match or not 1 < factor <= MAX_LENGTH:
            return
        named = {int(number) for number in re.findall(r"\d+", failure.text)} - {factor}
        lengths = sorted({size for _, spec in plan.tensors() for size in spec.shape[1:] if size in named and size % factor})
        for length in lengths:
            grown = plan
            for place, spec in plan.tensors():
                if length in spec.shape[1:]:
                    rounded = -(-length // factor) * factor
                    grown = grown.reshaped(place, (spec.shape[0], *(rounded if size == length else size for size in spec.shape[1:])))
            yield grown

    def _dtype(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        if _FLOATING.search(failure.text):
            for place, spec in plan.tensors():
                if spec.dtype == "float32":
                    yield plan.put(place, replace(spec, dtype="int64"))
        if _INTEGRAL.search(failure.text):
            for place, spec in plan.tensors():
                if spec.dtype == "int64":
                    yield plan.put(place, replace(spec, dtype="float32"))

    def _layer(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """The layer that failed says what it takes."""
        if failure.layer is None or failure.shape is None:
            return
        wanted = layer_input(failure.layer)
        if wanted is None:
            return
        got = failure.shape
        for place, spec in plan.tensors():
            if spec.shape == got and len(got) != len(wanted.shape):
                yield plan.put(place, wanted)
            order = _order(spec.shape, got)
            if order and len(got) == len(wanted.shape) and _channels_differ(got, wanted.shape):
                yield plan.reshaped(place, _inverse(wanted.shape, order))
        axis = 1 if len(wanted.shape) > 2 and len(got) == len(wanted.shape) and wanted.shape[-1] != _features(failure) else len(got) - 1
        need = wanted.shape[min(axis, len(wanted.shape) - 1)]
        if axis < len(got) and got[axis] != need:
            yield from _recount(plan, got[axis], need)

    def _features(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """A flattened feature map met a layer of a fixed width: solve for the spatial size."""
        pair = _feature_pair(plan, failure)
        if pair is None:
            return
        got, need = pair
        if not _VIEW.search(failure.text):
            yield from _recount(plan, got, need)
        for place, spec in plan.tensors():
            dims = len(spec.shape) - 2
            if dims < 1 or spec.dtype == "int64":
                continue
            size = spec.shape[-1]
            known = self.seen[place, need]
            known[size] = got
            for new in _solve(known, size, got, need, dims):
                yield _resized_together(plan, spec.shape, new)
                yield plan.reshaped(place, _resized(spec.shape, new))

    def _size_named(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """The model itself says which image size it takes."""
        match = _IMAGE_SIZE.search(failure.text)
        if not match:
            return
        numbers = [int(number) for number in match.groups() if number]
        if len(numbers) == 4 and numbers[0] and numbers[1]:
            # Sides grow by what the model wants over what it saw: some join several images before they look.
            scaled = plan
            for place, spec in plan.tensors():
                if len(spec.shape) >= 4:
                    height, width = spec.shape[-2] * numbers[2] // numbers[0], spec.shape[-1] * numbers[3] // numbers[1]
                    scaled = scaled.reshaped(place, (*spec.shape[:-2], max(height, 1), max(width, 1)))
            yield scaled
        for place, spec in plan.tensors():
            if len(spec.shape) >= 4:
                for number in numbers:
                    if number != spec.shape[-1] and 8 <= number <= MAX_SIZE:
                        yield plan.reshaped(place, _resized(spec.shape, number))

    def _broadcast(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """Two sizes had to agree: a table of positions, or two branches whose sizes were rounded apart."""
        for one, other in _disagreements(failure.text):
            for place, spec in plan.tensors():
                if one in spec.shape[1:] or other in spec.shape[1:]:
                    old, new = (one, other) if one in spec.shape[1:] else (other, one)
                    yield plan.reshaped(place, (spec.shape[0], *(new if size == old else size for size in spec.shape[1:])))
                if len(spec.shape) < 3 or spec.dtype == "int64":
                    continue
                for size in _sizes_of_positions(spec.shape, one, other):
                    yield plan.reshaped(place, _resized(spec.shape, size))
            if abs(one - other) <= 4:
                for size, (place, spec) in itertools.product((256, 64, 128, 512), plan.tensors()):
                    if len(spec.shape) >= 3 and spec.shape[-1] != size:
                        yield plan.reshaped(place, _resized(spec.shape, size))

    def _rank(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        match = _RANK.search(failure.text) or _UNPACK.search(failure.text)
        ranks = [int(group) for group in match.groups() if group] if match else []
        if not ranks and ("Dimension out of range" in failure.text or "index out of range" in failure.text):
            ranks = sorted({len(spec.shape) + 1 for _, spec in plan.tensors()})
        for rank, (place, spec) in itertools.product(ranks, plan.tensors()):
            if rank != len(spec.shape) and 1 <= rank <= 5:
                yield plan.reshaped(place, _reranked(spec.shape, rank))

    def _other_sizes(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        """Windows that do not tile an image: sizes with many divisors."""
        if not _VIEW.search(failure.text) and "divisible" not in failure.text:
            return
        for size, (place, spec) in itertools.product((224, 256, 448, 512, 560, 640), plan.tensors()):
            if len(spec.shape) >= 4 and spec.shape[-1] > 32 and spec.shape[-1] != size:
                yield plan.reshaped(place, _resized(spec.shape, size))

    def _grow(self, plan: Plan, failure: Failure) -> Iterator[Plan]:
        if not _KERNEL.search(failure.text):
            return
        grown = plan
        for place, spec in plan.tensors():
            if len(spec.shape) >= 3 and spec.dtype != "int64" and max(spec.shape[2:]) * 2 <= MAX_SIZE:
                shape = (*spec.shape[:2], *(max(size * 2, 4) for size in spec.shape[2:]))
                grown = grown.reshaped(place, shape)
                yield plan.reshaped(place, shape)
        if grown is not plan:
            yield grown


def _features(failure: Failure) -> int | None:
    """Width that a layer takes along its last axis, for layers that read the last axis."""
    layer = failure.layer
    for name in ("in_features", "input_size", "embed_dim"):
        if isinstance(width := getattr(layer, name, None), int):
            return width
    shape = getattr(layer, "normalized_shape", None)
    return shape[-1] if shape else None


def _channels_differ(got: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return got[1] != wanted[1] if len(got) > 2 else got[-1] != wanted[-1]


def _order(shape: tuple[int, ...], got: tuple[int, ...]) -> tuple[int, ...] | None:
    """The permutation that turns ``shape`` into ``got``; the identity first, the batch axis in its place if it can be."""
    if len(shape) != len(got) or sorted(shape) != sorted(got) or len(shape) > 5:
        return None
    orders = [order for order in itertools.permutations(range(len(shape))) if tuple(shape[i] for i in order) == got]
    return min(orders, key=lambda order: (order[0] != 0, sum(i != j for i, j in enumerate(order))))


def _inverse(wanted: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    shape = [0] * len(order)
    for size, axis in zip(wanted, order, strict=True):
        shape[axis] = size
    return tuple(shape)


def _recount(plan: Plan, got: int, need: int) -> Iterator[Plan]:
    """Plans in which a channel or feature count of ``got`` becomes ``need``, alone or as a part of a concatenation."""
    for place, spec in plan.tensors():
        for axis in (1, len(spec.shape) - 1):
            if 0 < axis < len(spec.shape) and spec.shape[axis] == got and spec.dtype != "int64":
                yield plan.reshaped(place, (*spec.shape[:axis], need, *spec.shape[axis + 1 :]))
    joined = [(place, spec) for place, spec in plan.tensors() if len(spec.shape) > 1 and spec.dtype == "float32"]
    for place, spec in joined:
        axis = 1 if len(spec.shape) > 3 else len(spec.shape) - 1
        rest = need - (got - spec.shape[axis])
        if spec.shape[axis] < got and rest > 0:
            yield plan.reshaped(place, (*spec.shape[:axis], rest, *spec.shape[axis + 1 :]))
    if len(joined) > 1 and sum(spec.shape[-1] for _, spec in joined) == got and need >= len(joined):
        shares = [need // len(joined)] * len(joined)
        shares[0] += need - sum(shares)
        for (place, spec), share in zip(joined, shares, strict=True):
            plan = plan.reshaped(place, (*spec.shape[:-1], share))
        yield plan


def _feature_pair(plan: Plan, failure: Failure) -> tuple[int, int] | None:
    """Features that came and features that were needed, per sample."""
    if match := _VIEW.search(failure.text):
        sizes = [int(size) for size in match[1].split(",")]
        rest = sizes[1:] if sizes[0] in {-1, BATCH} else sizes
        need = math.prod(size for size in rest if size > 0)
        batch = next((spec.shape[0] for _, spec in plan.tensors() if spec.shape), BATCH)
        return (max(1, int(match[2]) // batch), need) if -1 not in rest and need > 1 else None
    width = _features(failure)
    if width and failure.shape and failure.shape[-1] != width:
        return failure.shape[-1], width
    if match := _PRODUCT.search(failure.text):
        numbers = [int(number) for number in match.groups() if number]
        return (numbers[1], numbers[2]) if numbers[1] != numbers[2] else None
    if match := re.search(r"running_mean should contain (\d+) elements not (\d+)", failure.text):
        return int(match[1]), int(match[2])
    if match := re.search(r"[Ee]xpected (\d+), got (\d+)|dimension of (\d+), but got (\d+)", failure.text):
        need, got = (int(number) for number in match.groups() if number)
        return got, need
    return None


def _solve(known: dict[int, int], size: int, got: int, need: int, dims: int) -> list[int]:
    """Spatial sizes at which the features should become ``need``.

    Features grow as ``(a * size + b) ** dims``; one known size gives ``a`` (with ``b = 0``), two give both.
    """
    root = 1 / dims
    estimates = [size * (need / got) ** root]
    others = sorted((abs(features - need), s) for s, features in known.items() if s != size and features != got)
    if others:
        other = others[0][1]
        slope = (got**root - known[other] ** root) / (size - other)
        if slope > 0:
            estimates.insert(0, size + (need**root - got**root) / slope)
    wanted: list[int] = []
    for estimate in estimates:
        wanted += [usual for usual in _USUAL_SIZES if abs(usual - estimate) <= max(2, 0.08 * estimate)]
        wanted += [round(estimate) + step for step in (0, 1, -1, 2, -2, 4, -4)]
    return [s for s in dict.fromkeys(wanted) if 1 <= s <= (MAX_SIZE if dims > 1 else MAX_LENGTH) and s not in known]


def _resized_together(plan: Plan, shape: tuple[int, ...], size: int) -> Plan:
    """Another spatial size for every tensor of a shape: the branches of a model are usually fed alike."""
    for place, spec in plan.tensors():
        if spec.shape == shape:
            plan = plan.reshaped(place, _resized(shape, size))
    return plan


def _resized(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Another spatial size: the last two axes of an image or clip (its first and second of three if channels stand last)."""
    if len(shape) == 3:
        return (*shape[:2], size)
    if len(shape) == 4 and shape[-1] <= 4 < shape[1]:
        return (shape[0], size, size, shape[-1])
    return (*shape[:-2], size, size)


def _disagreements(text: str) -> list[tuple[int, int]]:
    found = [(int(match[1]), int(match[2])) for pattern in (_MISMATCH, _CAT) for match in pattern.finditer(text)]
    for match in _BROADCAST.finditer(text):
        one, other = ([int(size) for size in match[i].split(",")] for i in (1, 2))
        pairs = itertools.zip_longest(reversed(one), reversed(other), fillvalue=1)
        found += [(a, b) for a, b in pairs if a != b and 1 not in {a, b}]
    return found


def _sizes_of_positions(shape: tuple[int, ...], one: int, other: int) -> list[int]:
    """Image sizes at which a grid of patches, with 0 to 2 extra tokens, has the other length."""
    sizes: list[int] = []
    for (have, need), extra in itertools.product(((one, other), (other, one)), range(3)):
        if have <= extra or need <= extra:
            continue
        exact = shape[-1] * ((need - extra) / (have - extra)) ** (0.5 if len(shape) > 3 else 1)
        if abs(exact - round(exact)) < 1e-9 and 1 <= round(exact) <= MAX_SIZE:
            sizes.append(round(exact))
    return sizes


def _reranked(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The nearest shape of another rank: images get 224, sequences 16 steps, superfluous axes go."""
    if rank < len(shape):
        return (*shape[: rank - 1], shape[-1]) if rank > 1 else shape[:1]
    if rank == 4 and len(shape) == 3:
        return (shape[0], *shape[1:], shape[-1]) if shape[1] <= 4 else (shape[0], 3, 224, 224)
    if rank == 4:
        return (shape[0] if shape else BATCH, 3, 224, 224)
    if rank == 5:
        return (*shape[:2], 16, *shape[2:])[:5] if len(shape) == 4 else (BATCH, 3, 16, 112, 112)
    if rank == 3 and len(shape) == 2:
        return (shape[0], 16, shape[1])
    return (*shape, *(16,) * (rank - len(shape)))
