"""How a number is spelled, in reports as in the notes of a run."""

from __future__ import annotations

import math

__all__ = ["number"]

_UNKNOWN = "\u2013"


def number(value: float | None) -> str:
    """Three significant digits, powers of ten beyond 1e-3 and 1e5: ``0.0123``, ``1.5e-7``, ``12345``, ``NaN``."""
    if value is None:
        return _UNKNOWN
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    magnitude = abs(value)
    if 999.5 <= magnitude < 1e5:
        return f"{value:.0f}"
    if 1e-3 <= magnitude < 1e5:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
