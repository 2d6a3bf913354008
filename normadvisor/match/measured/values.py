"""Values of expressions over measurements as JSON."""

from __future__ import annotations

from math import isfinite

from normadvisor.types import JSONValue

__all__ = ["plain_value"]

_MOST = 50
"""Longest list kept."""


def plain_value(value: object) -> JSONValue:
    """A value as JSON: views by name, numbers that are not finite as text, long lists cut."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # Six digits tell everything that a measurement of this kind can.
        return float(f"{value:.6g}") if isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value[:_MOST]]
    return str(value)
