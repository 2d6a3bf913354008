"""What the error messages of tensor operations say: sizes that disagree, ranks, dtypes, image sizes.

Both spellings are read wherever the meta device words an error otherwise than the CPU does.
"""

from __future__ import annotations

import itertools
import math
import re

from normadvisor.targets.inputs.layers import BATCH

__all__ = [
    "cannot_be_viewed", "disagreements", "flattened", "image_sizes", "lost_an_axis", "multiple_of", "ranks", "too_small", "wants_floats",
    "wants_integers",
]  # fmt: skip

_WANTS_INTEGERS = re.compile(
    r"scalar types: Long, Int|expected scalar type (Long|Int)|must be (long|int)|to be (one of )?.*(Long|int64)|indices.* (Long|int)|"
    r"used as indices",
)
_WANTS_FLOATS = re.compile(
    r"must have the same dtype, but got (Long|Int)|Input type \((long|int)|not implemented for '(Long|Int)'|can only .*floating|"
    r"expected .*(float|Float).* but (got|found) .*(Long|Int|int64)|floating point dtypes|Input dtype must be either a floating",
)
_TOO_SMALL = re.compile(
    r"Kernel size can't be greater|Output size is too small|more than 1 (value per channel|spatial element)|Padding size should be less|"
    r"smaller than kernel size|non-empty|must be greater than zero|should be greater than|too small|negative dimension|has size 0|"
    r"zero-size|output size must be positive",
)
_VIEW = re.compile(r"shape '\[([-\d, ]+)\]' is invalid for input of size (\d+)")
_MISMATCH = re.compile(
    r"size of (?:the )?tensor(?: a)? \((\d+)\) must match the (?:size of tensor b|existing size) \((\d+)\)",
)
_BROADCAST = re.compile(
    r"Mismatching argument at index \d+ had (?:torch\.Size\()?\[([\d, ]+)\]\)?; "
    r"but expected shape should be broadcastable to (?:torch\.Size\()?\[([\d, ]+)\]",
)
_CAT = re.compile(
    r"Sizes of tensors must match except in dimension \d+\. Expected(?: size)? (\d+)(?: in dimension \d+)? but got(?: size)? (\d+)",
)
_MULTIPLE = re.compile(r"multiple of[^\d]*?(?:`[^`]*` ?\()?(\d+)")
_UNPACK = re.compile(r"(?:not enough|too many) values to unpack \(expected (\d+)")
_ONE_LESS = re.compile(r"not enough values to unpack \(expected (\d+), got (\d+)\)")
_RANK = re.compile(
    r"dims\) = (\d)|expected (\d)D (?:or \dD )?input|[Ee]xpected(?: input to have)? (\d) dim|(\d)D tensor expected|[Ee]xpected (\d)-?D\b|"
    r"must be (?:an? )?(\d)D|(\d)-dimensional",
)
_PRODUCT = re.compile(r"reduction dim, but got \[(\d+), (\d+)\] X \[(\d+), (\d+)\]|cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)")
_IMAGE_SIZES = re.compile(r"(\d{2,4})\s*[*x,]\s*(\d{2,4})\D+(\d{2,4})\s*[*x,]\s*(\d{2,4})")
_IMAGE_SIDE = re.compile(r"[Ii]nput (?:image )?(?:height|width|size)\D*(\d{2,4})\D+(\d{2,4})")
_FEATURES = re.compile(r"input_size\. Expected (\d+), got (\d+)|dimension of (\d+), but got (\d+)")
_RUNNING = re.compile(r"running_mean should contain (\d+) elements not (\d+)")


def wants_integers(text: str) -> bool:
    """Whether floating-point numbers came where ids or indices were wanted."""
    return _WANTS_INTEGERS.search(text) is not None


def wants_floats(text: str) -> bool:
    """Whether integers came where floating-point numbers were wanted."""
    return _WANTS_FLOATS.search(text) is not None


def too_small(text: str) -> bool:
    """Whether an image or a signal ran out of height, width or length on its way."""
    return _TOO_SMALL.search(text) is not None


def cannot_be_viewed(text: str) -> bool:
    """Whether a number of elements did not fit a shape."""
    return _VIEW.search(text) is not None


def multiple_of(text: str) -> int | None:
    """The number that a length has to be a multiple of."""
    match = _MULTIPLE.search(text)
    return int(match[1]) if match and int(match[1]) > 1 else None


def ranks(text: str) -> list[int]:
    """Numbers of dimensions that were wanted."""
    match = _RANK.search(text) or _UNPACK.search(text)
    return [int(group) for group in match.groups() if group] if match else []


def lost_an_axis(text: str) -> list[int]:
    """Ranks that were wanted where a tensor with one axis less came: a loop took the first axis away."""
    return [int(match[1]) for match in _ONE_LESS.finditer(text) if int(match[1]) == int(match[2]) + 1]


def image_sizes(text: str) -> list[int]:
    """Heights and widths in the order they are named: what came, then what was wanted; empty when none are named."""
    match = _IMAGE_SIZES.search(text) or _IMAGE_SIDE.search(text)
    return [int(number) for number in match.groups()] if match else []


def flattened(text: str, batch: int) -> tuple[int, int] | None:
    """Features per sample that came and that were wanted by a view, a matrix product or a normalization."""
    if match := _VIEW.search(text):
        sizes = [int(size) for size in match[1].split(",")]
        rest = sizes[1:] if sizes[0] in {-1, BATCH} else sizes
        need = math.prod(size for size in rest if size > 0)
        return (max(1, int(match[2]) // batch), need) if -1 not in rest and need > 1 else None
    if match := _PRODUCT.search(text):
        numbers = [int(number) for number in match.groups() if number]
        return (numbers[1], numbers[2]) if numbers[1] != numbers[2] else None
    if match := _RUNNING.search(text):
        return int(match[1]), int(match[2])
    if match := _FEATURES.search(text):
        need, got = (int(number) for number in match.groups() if number)
        return got, need
    return None


def disagreements(text: str) -> list[tuple[int, int]]:
    """Pairs of sizes that had to be equal and were not."""
    found = [(int(match[1]), int(match[2])) for pattern in (_MISMATCH, _CAT) for match in pattern.finditer(text)]
    for match in _BROADCAST.finditer(text):
        one, other = ([int(size) for size in match[i].split(",")] for i in (1, 2))
        pairs = itertools.zip_longest(reversed(one), reversed(other), fillvalue=1)
        found += [(a, b) for a, b in pairs if a != b and 1 not in {a, b}]
    return found
