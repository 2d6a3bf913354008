"""Parts of a model along its depth, to label an axis of layers with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

__all__ = ["Stage", "common_prefix", "stages"]

MOST = 14
"""Stages beyond which an axis is read no better."""


class Stage(NamedTuple):
    """Consecutive layers whose names begin alike."""

    name: str
    first: int
    last: int


def stages(names: Sequence[str], most: int = MOST) -> list[Stage]:
    """Split layers into runs of equal beginnings of their names, as fine as ``most`` runs allow.

    The parts that all names begin with say nothing and are left out of the names.
    """
    skip = len(common_prefix(names))
    levels = [_runs(names, skip, depth) for depth in range(skip + 1, skip + 6)]
    fitting = [found for found in levels if len(found) <= most]
    best = max(fitting, key=len, default=levels[0])
    widest = max((stage.last - stage.first + 1 for stage in best), default=0)
    if len(best) <= most and 2 * widest <= len(names):
        return best
    # One stage that holds most of the model, such as the blocks of a transformer, tells less than its parts.
    finer = next((found for found in levels if len(found) > len(best)), best)
    return finer if len(finer) <= most else _joined(finer, most)


def _runs(names: Sequence[str], skip: int, depth: int) -> list[Stage]:
    found = []
    for key, group in groupby(enumerate(names), key=lambda item: ".".join(item[1].split(".")[skip:depth])):
        positions = [position for position, _name in group]
        found.append(Stage(key, positions[0], positions[-1]))
    return found


def _joined(found: list[Stage], most: int) -> list[Stage]:
    """Every so many runs joined to one, called by the first and the last."""
    size = -(-len(found) // most)
    joined = []
    for start in range(0, len(found), size):
        group = found[start : start + size]
        name = group[0].name if len(group) == 1 else f"{group[0].name} \u2013 {group[-1].name}"
        joined.append(Stage(name, group[0].first, group[-1].last))
    return joined


def common_prefix(names: Sequence[str]) -> list[str]:
    """Leading parts that all names share, never the whole of a name."""
    if not names:
        return []
    parts = [name.split(".") for name in names]
    shared = []
    for pieces in zip(*(part[:-1] for part in parts), strict=False):
        if len(set(pieces)) > 1:
            break
        shared.append(pieces[0])
    return shared
