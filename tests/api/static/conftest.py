"""An analysis that is quick and simple, so that tests are about what is around it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import normadvisor.script
from normadvisor.api.static.analyse import Setup
from normadvisor.rulebook import load_rules
from normadvisor.script.events import Event, ScriptModel
from normadvisor.types import Location, RunContext


@dataclass
class Fake:
    """Finds `F.dropout(x)` by its text, and says what it was asked to read."""

    read: list[str] = field(default_factory=list)

    def __call__(self, path: Path, project: object) -> ScriptModel:
        self.read.append(path.name)
        module = project.load(path)
        events = [
            Event(
                kind="dropout_call",
                location=Location(module.path, number, line.index("F.dropout") + 1, number, len(line) + 1),
                attributes={
                    "call": "F.dropout", "training": "missing", "p": None, "in_module": True, "guarded": False, "constructed": False,
                    "deliberate": None, "function": "forward",
                },
                text="F.dropout(x)",
            )
            for number, line in enumerate(module.lines, 1)
            if "F.dropout(x)" in line
        ]  # fmt: skip
        uses = tuple(str(path.parent / name) for name in re.findall(r"# uses (\S+)", module.text))
        losses = {f"{path.parent / name}:{model}": loss for name, model, loss in re.findall(r"# loss (\S+):(\S+) (\S+)", module.text)}
        notes = ("the budget ran out",) if "# slow" in module.text else ()
        if "# bug" in module.text:
            raise ZeroDivisionError
        if "# deep" in module.text:
            raise RecursionError
        return ScriptModel(path=module.path, events=tuple(events), dependencies=uses, losses=losses, notes=notes)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(normadvisor.script, "analyze", fake, raising=False)
    return fake


@pytest.fixture(scope="session")
def rules():
    """Rules without mends: which edits they make depends on more than the fake analysis tells."""
    return {name: replace(rule, fix=None) for name, rule in load_rules().rules.items()}


@pytest.fixture
def setup(tmp_path: Path, rules) -> Callable[..., Setup]:
    def make(**changes: object) -> Setup:
        plain = {
            "rules": (rules["NA509"],), "roots": (tmp_path,), "context": RunContext(), "flags": RunContext(), "survey": False,
        }  # fmt: skip
        return Setup(**{**plain, **changes})

    return make
