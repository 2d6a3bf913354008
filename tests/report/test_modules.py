from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.report.modules import compact, listed


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["conv1"], ["conv1"]),
        (["features.0", "features.3", "features.7"], ["features.{0,3,7}"]),
        (["a.0", "a.1", "a.2", "a.5"], ["a.{0-2,5}"]),
        (["a.0", "a.1"], ["a.{0,1}"]),
        ([f"layer{i}.{j}.conv{k}" for i, j, k in itertools.product((1, 2, 3), (0, 1), (1, 2))], ["layer{1-3}.{0,1}.conv{1,2}"]),
        (["l1.0", "l1.1", "l2.0"], ["l1.{0,1}", "l2.0"]),
        (["head", "a.0", "head", "a.1"], ["head", "a.{0,1}"]),
        (["x01", "x1"], ["x01", "x1"]),
        ([], []),
    ],
)
def test_compact(names, expected):
    assert compact(names) == expected


def spelled(pattern: str) -> list[str]:
    """All the names a merged name stands for."""
    choices = []
    for piece in re.split(r"(\{[^}]*\})", pattern):
        if not piece.startswith("{"):
            choices.append([piece])
            continue
        numbers: list[str] = []
        for part in piece[1:-1].split(","):
            first, _, last = part.partition("-")
            numbers += [str(number) for number in range(int(first), int(last or first) + 1)]
        choices.append(numbers)
    return ["".join(pieces) for pieces in itertools.product(*choices)]


@given(st.lists(st.from_regex(r"(a|b1)(\.[0-4]){0,3}", fullmatch=True), max_size=30))
def test_compact_stands_for_exactly_the_names(names):
    merged = [name for pattern in compact(names) for name in spelled(pattern)]
    assert sorted(merged) == sorted(set(names))


def test_listed():
    assert listed(["a"]) == "a"
    assert listed([""]) == "the model itself"
    assert listed([f"layers.{i}.norm" for i in range(32)]) == "layers.{0-31}.norm (32 modules)"
    assert listed(["a", "b", "c"], 2) == "a, b, \u2026 (3 modules)"
