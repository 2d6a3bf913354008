"""Parts of a model along its depth, to label an axis of layers with."""

from __future__ import annotations

from collections import Counter
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

    The parts that nearly all names begin with say nothing and are left out of the names.
    """
    shared = common_prefix(names)
    short = [name.removeprefix(shared) for name in names]
    levels = [_runs(short, depth) for depth in range(1, 6)]
    fitting = [found for found in levels if len(found) <= most]
    best = max(fitting, key=len, default=levels[0])
    widest = max((stage.last - stage.first + 1 for stage in best), default=0)
    if len(best) <= most and 2 * widest <= len(names):
        return best
    # One stage that holds most of the model, such as the blocks of a transformer, tells less than its parts.
    finer = next((found for found in levels if len(found) > len(best)), best)
    return finer if len(finer) <= most else _joined(finer, most)


def _runs(names: Sequence[str], depth: int) -> list[Stage]:
    found = []
    for key, group in groupby(enumerate(names), key=lambda item: ".".join(item[1].split(".")[:depth])):
        positions = [position for position, _name in group]
        found.append(Stage(key, positions[0], positions[-1]))
    return found


def _joined(found: list[Stage], most: int) -> list[Stage]:
    """Every so many runs joined to one, which has the name of the first."""
    size = -(-len(found) // most)
    joined = []
    for start in range(0, len(found), size):
        group = found[start : start + size]
        joined.append(Stage(group[0].name, group[0].first, group[-1].last))
    return joined


def common_prefix(names: Sequence[str]) -> str:
    """Leading parts, with the dot after them, that at least nine tenths of the names share; empty where there are none.

    What numbers follow, such as ``layers.0``, is not left out: a number alone tells nothing.
    """
    prefix = ""
    while True:
        counts = Counter(name[len(prefix) :].split(".", 1)[0] for name in names if name.startswith(prefix) and "." in name[len(prefix) :])
        part, times = max(counts.items(), key=lambda item: item[1], default=("", 0))
        following = [name[len(prefix) + len(part) + 1 :] for name in names if name.startswith(f"{prefix}{part}.")]
        if times < 0.9 * len(names) or times < 2 or any(rest[:1].isdecimal() for rest in following):
            return prefix
        prefix += f"{part}."
