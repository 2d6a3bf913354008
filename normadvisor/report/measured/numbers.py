"""Measured numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from normadvisor.types import LayerMeasurements, Series
from normadvisor.types.numbers import number

__all__ = ["Band", "amount", "band", "decades", "duration", "loss", "number", "share", "superscript", "typical", "values"]

_SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def loss(value: float | None) -> str:
    """Four significant digits: losses are compared with each other closely."""
    return number(value) if value is None or not math.isfinite(value) or not 1e-3 <= abs(value) < 999.5 else f"{value:.4g}"


def share(value: float | None) -> str:
    """Per cent; what is not quite none or all is not rounded to it."""
    if value is None or not math.isfinite(value):
        return number(value)
    rounded = f"{100 * value:.0f}"
    if rounded == "0" and value > 0:
        rounded = "<1"
    if rounded == "100" and value < 1:
        rounded = ">99"
    return f"{rounded}\u00a0%"


def amount(count: int) -> str:
    """``950``, ``25.6 M``: how many parameters."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * factor:
            return f"{count / factor:.3g}\u00a0{unit}"
    return str(count)


def duration(seconds: float | None) -> str:
    """``12 ms``, ``1.2 s``, ``3 min 5 s``."""
    if seconds is None or not math.isfinite(seconds):
        return number(seconds)
    if seconds < 0.9995:
        return f"{1000 * seconds:.3g}\u00a0ms"
    if seconds < 59.95:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}\u00a0min {rest}\u00a0s" if rest else f"{minutes}\u00a0min"


def superscript(exponent: int) -> str:
    """``10⁻³`` for -3; ``1`` for 0."""
    return "1" if exponent == 0 else f"10{str(exponent).translate(_SUPERSCRIPTS)}"


class Band(NamedTuple):
    """A layer's number over the steps."""

    low: float | None
    """Smallest of the finite, positive numbers; ``None`` where there is none."""
    middle: float | None
    """Their median."""
    high: float | None
    zero: bool
    """Whether some step gave exactly zero."""
    broken: bool
    """Whether some step gave a number that is not finite."""

    @property
    def measured(self) -> bool:
        """Whether there is anything to draw."""
        return self.middle is not None or self.zero or self.broken


def band(series: Sequence[float | None]) -> Band:
    """Smallest, median and largest of the positive numbers of a series, for a logarithmic axis."""
    known = [value for value in series if value is not None]
    positive = sorted(value for value in known if math.isfinite(value) and value > 0)
    broken = not all(map(math.isfinite, known))
    zero = any(value == 0 for value in known)
    if not positive:
        return Band(None, None, None, zero, broken)
    return Band(positive[0], _median(positive), positive[-1], zero, broken)


def _median(ordered: Sequence[float]) -> float:
    """Geometric mean of the two in the middle where there are two: the middle on a logarithmic axis."""
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else math.sqrt(ordered[middle - 1]) * math.sqrt(ordered[middle])


def decades(bands: Iterable[Band], *, include: Iterable[float] = (), least: int = 2) -> tuple[int, int]:
    """Powers of ten that hold all numbers, at least ``least`` apart; those of 1e-3 to 1 where there are none."""
    ends = [end for item in bands for end in (item.low, item.high) if end is not None]
    ends += include
    if not ends:
        return -3, 0
    low, high = math.floor(math.log10(min(ends)) + 1e-9), math.ceil(math.log10(max(ends)) - 1e-9)
    while high - low < least:
        low, high = (low - 1, high) if (high - low) % 2 == 0 else (low, high + 1)
    return low, high


def typical(layer: LayerMeasurements, key: str) -> float | None:
    """Median of the finite numbers of a layer over the steps; where none is finite, the first that is not."""
    series = layer.series.get(key, ())
    known = values(series)
    return median(known) if known else next((value for value in series if value is not None), None)


def values(series: Series) -> list[float]:
    """The finite numbers of a series."""
    return [value for value in series if value is not None and math.isfinite(value)]
