"""Every ``NAME.in.py`` becomes its ``NAME.out.py``; every ``NAME.refused.py`` says at its head why it stays."""

from __future__ import annotations

import re
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
    assert traced(after).ops == _expected(subject)


def _expected(subject) -> list[str]:
    """Operations of the fixed model, in order."""
    nodes = [(node.name, node.op) for node in subject.graph.nodes]
    for operation in subject.done:
        names = [name for name, _ in nodes]
        if not operation.part.node:
            continue
        position = names.index(operation.part.node)
        if operation.kind is OperationKind.REMOVE_LAYER:
            nodes.pop(position)
        elif operation.kind is OperationKind.INSERT_LAYER:
            nodes.insert(position + 1, ("", _op(operation.layer)))
        elif operation.other is not None:
            other = names.index(operation.other.node)
            nodes[position], nodes[other] = nodes[other], nodes[position]
    return [op for _, op in nodes if op not in {"input", "output", "param", "constant", "identity"}]


def _op(layer: str) -> str:
    """``batch_norm`` for ``torch.nn.BatchNorm2d``."""
    name = layer.rpartition(".")[2]
    return "batch_norm" if name.startswith("BatchNorm") else name.lower()


@pytest.mark.parametrize("source", _REFUSED, ids=_name)
def test_refusal_says_why(source: Path, tmp_path: Path, fixed):
    actual, _ = fixed(source, tmp_path)
    expected = re.findall(r"^# refused: (.*)$", source.read_text(), re.MULTILINE)
    assert [actual] == expected
