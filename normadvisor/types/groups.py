"""How many groups a group normalization gets."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

__all__ = ["MOST_GROUPS", "group_count", "shared_group_count"]

MOST_GROUPS = 32
"""The number of groups with the lowest error in Wu and He, Group Normalization, 2018, table 3 (24.1 % on ImageNet with ResNet-50)."""
_LEAST_CHANNELS = 2
"""Fewest channels of a group. With one it would be an instance normalization, 28.4 % in the same table."""


def group_count(channels: int, most: int = MOST_GROUPS) -> int:
    """Groups for a number of channels: the largest divisor of it that is at most ``most`` and leaves every group two channels, else 1.

    Raises:
        ValueError: either number is below 1.

    """
    if channels < 1 or most < 1:
        raise ValueError("channels and groups are counted from 1")
    return next((groups for groups in range(min(most, channels // _LEAST_CHANNELS), 1, -1) if channels % groups == 0), 1)


def shared_group_count(counts: Iterable[int]) -> int | None:
    """One number of groups for several layers that are built by one line: the greatest common divisor; ``None`` where that is 1.

    A divisor of a layer's number of groups divides its channels too, and makes its groups larger, never smaller.
    """
    shared = gcd(*counts)
    return shared if shared > 1 else None
