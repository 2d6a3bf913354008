"""Models before and after a fix of their construction: ``NAME.in.py`` becomes ``NAME.out.py``, ``NAME.refused.py`` stays as it is.

The head of a file says what is done, in comments::

    # fix: set_argument conv* bias=False
    # fix: replace_layer *.bn torch.nn.GroupNorm num_groups=4 num_channels=module.num_features
    # fix: wrap_layer conv torch.nn.utils.parametrizations.weight_norm
    # model: Net
    # input: 2x3x16x16
    # refused: why
    # allied: set_argument other bias=False   (what other findings ask for)

Names of layers are globs; values are Python, and ``module`` is the live layer.
"""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from normadvisor.graph import trace
from normadvisor.rewrite.source import SourceFiles, write_source
from normadvisor.rewrite.text.apply import applied
from normadvisor.targets.build import build
from normadvisor.targets.inputs import candidate_inputs, parse_input
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target
from normadvisor.types import Applicability, Fix, Operation, OperationKind, Part, RunContext

DATA = Path(__file__).parent / "data"
GOLDEN = sorted(path.name.removesuffix(".in.py") for path in DATA.glob("*.in.py"))
REFUSED = sorted(path.name.removesuffix(".refused.py") for path in DATA.glob("*.refused.py"))


@dataclass
class Case:
    """A traced model and what is to be done to it."""

    path: Path
    model: Any
    graph: Any
    operations: tuple[Operation, ...]
    allied: tuple[Operation, ...] = ()

    def written(self) -> Fix:
        fix = Fix(Applicability.UNSAFE, "", operations=self.operations)
        return write_source(fix, self.graph, self.model, self.path.parent, SourceFiles(self.path.parent), self.allied)

    def changed(self) -> bytes:
        fix = self.written()
        assert fix.refused == ""
        assert {edit.path for edit in fix.edits} <= {str(self.path)}
        return applied(self.path.read_bytes(), self.path, fix.edits)


def head(data: bytes, word: str) -> list[str]:
    return re.findall(rf"^# {word}: (.*?)\r?$", data.decode("latin-1"), re.MULTILINE)


def opened(path: Path, told: bytes, operations: tuple[Operation, ...] = ()) -> Case:
    """Import, build and trace the model of a file; ``told`` is the text whose head says what to do, unless operations do."""
    name = (head(told, "model") or ["Net"])[0]
    built = build(load(parse_target(f"{path}:{name}", path.parent)))
    inputs = next(candidate_inputs(built.model, [parse_input((head(told, "input") or ["2x3x16x16"])[0])], RunContext()))
    graph = trace(built.model, inputs, target=f"{path}:{name}", sites=built.sites, defined_at=built.defined_at)
    operations = operations or tuple(item for text in head(told, "fix") for item in operations_of(text, built.model, graph))
    assert operations
    allied = tuple(item for text in head(told, "allied") for item in operations_of(text, built.model, graph))
    return Case(path, built.model, graph, operations, allied)


def operations_of(text: str, model: Any, graph: Any) -> list[Operation]:
    kind, names, *rest = text.split()
    layer = rest.pop(0) if rest and "=" not in rest[0] else ""
    found = []
    for name in graph.modules:
        if not name or not any(fnmatchcase(name, pattern) for pattern in names.split("|")):
            continue
        module = model.get_submodule(name)
        values = {key: eval(value, {"module": module}) for key, _, value in (item.partition("=") for item in rest)}
        nodes = [node for node in graph.nodes if node.module == name]
        # A class derived from a layer, with a forward of its own, shows as the calls that it makes.
        node = next((node for node in nodes if node.cls or node.op in {"conv", "linear"}), None)
        is_layer = node is None or bool(node.cls)
        part = Part(name, "" if node is None else node.name, graph.modules[name].op or "", is_layer)
        if kind == "set_argument":
            found += [Operation(kind=OperationKind(kind), part=part, argument=key, value=value) for key, value in values.items()]
        else:
            found.append(Operation(kind=OperationKind(kind), part=part, layer=layer, arguments=values))
    return found


def copied(source: Path, folder: Path, name: str) -> Path:
    if b"torchvision" in source.read_bytes():
        pytest.importorskip("torchvision")
    path = folder / f"{name}.py"
    path.write_bytes(source.read_bytes())
    return path


def in_effect(operation: Operation, case: Case) -> bool:
    """Whether a model has what an operation asks for."""
    module = case.model.get_submodule(operation.part.module)
    if operation.kind is OperationKind.SET_ARGUMENT:
        value = getattr(module, operation.argument)
        return (value is not None) == operation.value if operation.argument == "bias" else value == operation.value
    if operation.kind is OperationKind.WRAP_LAYER:
        return hasattr(module, "parametrizations")
    package, _, name = operation.layer.rpartition(".")
    wanted = all(getattr(module, key, value) == value for key, value in operation.arguments.items())
    return wanted and type(module) is getattr(importlib.import_module(package), name)


@pytest.mark.parametrize("name", GOLDEN)
def test_written(name: str, tmp_path: Path) -> None:
    source = DATA / f"{name}.in.py"
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    case = opened(copied(source, tmp_path / "before", name), source.read_bytes())
    changed = case.changed()
    case.operations = case.written().operations
    assert changed.decode("latin-1") == (DATA / f"{name}.out.py").read_bytes().decode("latin-1")
    ast.parse(changed)
    path = tmp_path / "after" / f"{name}.py"
    path.write_bytes(changed)
    again = opened(path, source.read_bytes(), case.operations)
    assert [operation for operation in case.operations if not in_effect(operation, again)] == []
    untouched = [other for other in case.graph.modules if other not in {operation.part.module for operation in case.operations}]
    assert [str(case.model.get_submodule(other)) for other in untouched if not list(case.model.get_submodule(other).children())] == [
        str(again.model.get_submodule(other)) for other in untouched if not list(case.model.get_submodule(other).children())
    ]
    if all(operation.kind is not OperationKind.WRAP_LAYER for operation in case.operations):
        assert again.written().edits == ()


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    source = DATA / f"{name}.refused.py"
    fix = opened(copied(source, tmp_path, name), source.read_bytes()).written()
    assert (fix.edits, [fix.refused]) == ((), head(source.read_bytes(), "refused"))
