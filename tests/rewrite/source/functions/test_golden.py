"""Every ``NAME.in.py`` becomes its ``NAME.out.py``, which computes the same; the heads say what is unsafe about it.

Every ``NAME.refused.py`` says at its head why it stays.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from normadvisor.graph import ModelGraph, look_for_written, trace
from normadvisor.rewrite.source import SourceFiles, write_source
from normadvisor.rewrite.text.apply import applied
from normadvisor.targets.build import build
from normadvisor.targets.inputs import candidate_inputs, parse_input
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target
from normadvisor.types import Fix, RunContext, TraceKind
from normadvisor.types.finding import Applicability, Edit
from normadvisor.types.operation import Operation, OperationKind, Part

_DATA = Path(__file__).parent / "data"
_PAIRS = sorted(_DATA.glob("*.in.py"))
_REFUSED = sorted(_DATA.glob("*.refused.py"))
_SET = re.compile(r"^# (input|tracer): (.*)$", re.MULTILINE)


@dataclass
class Subject:
    path: Path
    model: nn.Module
    graph: ModelGraph
    inputs: Any

    def fixes(self) -> list[Fix]:
        """One fix for every line that computes by hand what torch has a function for, with its edits."""
        groups: dict[Any, list[Operation]] = {}
        for node in self.graph.nodes:
            if "computes" in node.attrs and "obstacle" not in node.attrs:
                part = Part(node.module, node.name, node.op, is_layer=bool(node.cls))
                operation = Operation(kind=OperationKind.USE_FUNCTION, part=part, layer=str(node.attrs["function"]))
                groups.setdefault((part.is_layer, type(self.model.get_submodule(part.module)) if part.is_layer else node.call_site), []).append(operation)
        root, files = self.path.parent, SourceFiles(self.path.parent)
        return [
            write_source(Fix(Applicability.SAFE, "", operations=tuple(found)), self.graph, self.model, root, files)
            for found in groups.values()
        ]  # fmt: skip


def subject_of(path: Path, tracer: TraceKind | None = None) -> Subject:
    head = dict(_SET.findall(path.read_bytes().decode("latin-1").replace("\r\n", "\n")))
    torch.manual_seed(0)
    built = build(load(parse_target(f"{path}:Net", path.parent)))
    specs = [parse_input(text) for text in head.get("input", "2x5x8").split()]
    given = next(candidate_inputs(built.model, specs, RunContext()))
    graph = trace(built.model, given, target="Net", sites=built.sites, mode="train", tracer=tracer)
    look_for_written(graph, built.model)
    return Subject(path, built.model, graph, given)


def _name(path: Path) -> str:
    return path.name.partition(".")[0]


def _results(model: nn.Module, like: nn.Module | None, inputs: Any) -> list[torch.Tensor]:
    """Outputs and gradients in double precision, with random weights."""
    torch.manual_seed(1)
    shapes = {name: value.shape for name, value in model.state_dict().items() if value.is_floating_point()}
    if like is not None:
        assert shapes == {name: value.shape for name, value in like.state_dict().items() if value.is_floating_point()}
    model = model.to_empty(device="cpu").double().eval()
    for held in model.state_dict().values():
        held.copy_(torch.rand(held.shape, dtype=torch.float64) - 0.4) if held.is_floating_point() else held.fill_(1).tril_()
    given = [torch.randn(value.shape, dtype=torch.float64, requires_grad=True) for value in inputs.args]
    output = model(*given)
    output.sin().sum().backward()
    return [output.detach(), *(value.grad for value in given), *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("tracer", [None, TraceKind.EXECUTION])
@pytest.mark.parametrize("source", _PAIRS, ids=_name)
def test_source_is_fixed(source: Path, tmp_path: Path, tracer: TraceKind | None):
    path = tmp_path / "net.py"
    shutil.copy(source, path)
    subject = subject_of(path, tracer)
    fixes = subject.fixes()
    assert [fix.refused for fix in fixes] == [""] * len(fixes)
    doubts = [fix.description.removeprefix(" Unsafe: ").removesuffix(".") for fix in fixes if fix.applicability is Applicability.UNSAFE]
    assert doubts == re.findall(r"^# unsafe: (.*)$", source.read_text(encoding="utf-8"), re.MULTILINE)
    edits = tuple(dict.fromkeys(edit for fix in fixes for edit in fix.edits))
    actual = applied(path.read_bytes(), path, _sorted(edits))
    assert actual == source.with_name(f"{_name(source)}.out.py").read_bytes()
    (tmp_path / "after").mkdir()
    after = tmp_path / "after" / "net_after.py"
    after.write_bytes(actual)
    changed = subject_of(after)
    assert changed.fixes() == []
    for new, old in zip(_results(changed.model, subject.model, subject.inputs), _results(subject.model, None, subject.inputs), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-6, atol=1e-6)


def _sorted(edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    return tuple(sorted(edits, key=lambda edit: (edit.line, edit.column)))


@pytest.mark.parametrize("source", _REFUSED, ids=_name)
def test_refusal_says_why(source: Path, tmp_path: Path):
    path = tmp_path / "net.py"
    shutil.copy(source, path)
    expected = re.findall(r"^# refused: (.*)$", source.read_text(), re.MULTILINE)
    assert [fix.refused for fix in subject_of(path).fixes()] == expected
