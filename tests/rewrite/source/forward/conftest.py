from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from normadvisor.graph import ModelGraph, trace
from normadvisor.rewrite.source import SourceFiles, write_source
from normadvisor.rewrite.text.apply import applied
from normadvisor.targets.build import build
from normadvisor.targets.inputs import candidate_inputs, parse_input
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target
from normadvisor.types import Fix, RunContext
from normadvisor.types.finding import Applicability
from normadvisor.types.operation import Operation, OperationKind, Part

_FIX = re.compile(r"^# fix: (\w+) (.*)$", re.MULTILINE)
_ALLIED = re.compile(r"^# allied: (\w+) (.*)$", re.MULTILINE)
_SET = re.compile(r"^# (model|input): (.*)$", re.MULTILINE)


@dataclass
class Traced:
    """A file whose head says which model it holds and what is to be done to it."""

    path: Path
    model: Any
    graph: ModelGraph
    done: tuple[Operation, ...] = ()
    """What the fix does, the operations it joined included."""

    @property
    def ops(self) -> list[str]:
        """Operations in order, without those that do nothing."""
        return [node.op for node in self.graph.nodes if node.op not in {"input", "output", "param", "constant", "identity"}]

    def operations(self) -> tuple[Operation, ...]:
        """What the head of the file asks for."""
        return self._told(_FIX)

    def allied(self) -> tuple[Operation, ...]:
        """What other findings ask for, by the head of the file."""
        return self._told(_ALLIED)

    def _told(self, pattern: re.Pattern[str]) -> tuple[Operation, ...]:
        text = self.path.read_bytes().decode("latin-1").replace("\r\n", "\n")
        return tuple(op for kind, words in pattern.findall(text) for op in self._operations(OperationKind(kind), words.split()))

    def _operations(self, kind: OperationKind, words: list[str]) -> list[Operation]:
        names = [word for word in words if "=" not in word]
        arguments = dict(word.split("=") for word in words if "=" in word)
        layer = arguments.pop("layer", "")
        values = {key: ast.literal_eval(value) for key, value in arguments.items()}
        return [
            Operation(kind=kind, part=parts[0], other=parts[1] if len(parts) > 1 else None, layer=layer, arguments=values)
            for parts in zip(*(self._parts(name) for name in names), strict=True)
        ]

    def _parts(self, name: str) -> list[Part]:
        """``act``: every run of a layer; ``*.act``: of all such layers; ``act@1``: its second run; ``:relu``: a node by its name."""
        if name.startswith(":"):
            pattern = re.compile(name[1:])
            found = [node for node in self.graph.nodes if pattern.fullmatch(node.name) and not node.cls]
            return [Part(node.module, node.name, node.op, is_layer=False) for node in found]
        name, _, run = name.partition("@")
        pattern = re.compile(re.escape(name).replace(r"\*", ".*"))
        runs = [node for node in self.graph.nodes if node.cls and pattern.fullmatch(node.module)]
        runs = [runs[int(run)]] if run else runs
        unrun = [] if runs else [module for module in self.graph.modules if pattern.fullmatch(module)]
        return [Part(node.module, node.name, node.op) for node in runs] + [Part(module) for module in unrun]


@pytest.fixture
def traced() -> Callable[..., Traced]:
    def run(path: Path, target: str = "", inputs: str = "") -> Traced:
        head = dict(_SET.findall(path.read_bytes().decode("latin-1").replace("\r\n", "\n")))
        built = build(load(parse_target(f"{path}:{target or head.get('model', 'Net')}", path.parent)))
        specs = [parse_input(text) for text in (inputs or head.get("input", "2x3x8x8")).split()]
        given = next(candidate_inputs(built.model, specs, RunContext()))
        return Traced(path, built.model, trace(built.model, given, target="Net", sites=built.sites))

    return run


@pytest.fixture
def written() -> Callable[[Traced], Fix]:
    """The fix that the head of a file asks for, with its edits."""

    def run(subject: Traced) -> Fix:
        is_safe = b"\n# safe\n" in subject.path.read_bytes()
        fix = Fix(Applicability.SAFE if is_safe else Applicability.UNSAFE, "", operations=subject.operations())
        assert fix.operations
        root = subject.path.parent
        return write_source(fix, subject.graph, subject.model, root, SourceFiles(root), subject.allied())

    return run


@pytest.fixture
def fixed(traced, written) -> Callable[[Path, Path], tuple[bytes | str, Traced]]:
    """The contents of a file after its fix, or why there is none."""

    def run(source: Path, folder: Path) -> tuple[bytes | str, Traced]:
        path = folder / "net.py"
        shutil.copy(source, path)
        subject = traced(path)
        fix = written(subject)
        subject.done = fix.operations
        return (fix.refused or applied(path.read_bytes(), path, fix.edits)), subject

    return run
