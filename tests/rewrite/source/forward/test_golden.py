"""Every ``NAME.in.py`` becomes its ``NAME.out.py``; every ``NAME.refused.py`` says at its head why it stays."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from normadvisor.types.operation import OperationKind

_DATA = Path(__file__).parent / "data"
_PAIRS = sorted(_DATA.glob("*.in.py"))
_REFUSED = sorted(_DATA.glob("*.refused.py"))


def _name(path: Path) -> str:
    return path.name.partition(".")[0]


@pytest.mark.parametrize("source", _PAIRS, ids=_name)
def test_source_is_fixed(source: Path, tmp_path: Path, fixed, traced):
    actual, subject = fixed(source, tmp_path)
    assert actual == source.with_name(f"{_name(source)}.out.py").read_bytes()
    (tmp_path / "after").mkdir()
    after = tmp_path / "after" / "net_after.py"
    after.write_bytes(actual)
    operations = subject.operations()
    removed = Counter(item.part.op for item in operations if item.kind is OperationKind.REMOVE_LAYER and item.part.node)
    inserted = Counter(_op(item.layer) for item in operations if item.kind is OperationKind.INSERT_LAYER)
    assert Counter(traced(after).ops) == Counter(subject.ops) - removed + inserted
    swaps = [(item.part.op, item.other.op) for item in operations if item.other is not None]
    if swaps:
        assert _pairs(traced(after).ops, swaps[0]) < _pairs(subject.ops, swaps[0])


def _op(layer: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", layer.rpartition(".")[2].removesuffix("2d")).lower().replace("re_lu", "relu")


def _pairs(ops: list[str], pair: tuple[str, str]) -> int:
    """How often the first operation is followed by the second."""
    return sum(first == pair[0] and pair[1] in ops[index + 1 : index + 3] for index, first in enumerate(ops))


@pytest.mark.parametrize("source", _REFUSED, ids=_name)
def test_refusal_says_why(source: Path, tmp_path: Path, fixed):
    actual, _ = fixed(source, tmp_path)
    expected = re.findall(r"^# refused: (.*)$", source.read_text(), re.MULTILINE)
    assert [actual] == expected
