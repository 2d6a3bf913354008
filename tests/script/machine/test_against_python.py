"""Random programs that switch modes, executed by Python and by the interpreter: what happens must have been foreseen, and nothing else claimed."""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normadvisor.script import analyze
from normadvisor.script.project.modules import Project

HEAD = """\
import contextlib
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(x)


@contextlib.contextmanager
def evaluating(model):
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)


def off(model):
    model.eval()


def switch(model, mode):
    if mode:
        model.train()
    else:
        model.eval()


def script(first, second, kind, times, x):
    net = Net()
    net.train()
"""
SIMPLE = (
    "net.train()", "net.eval()", "net.train(False)", "off(net)", "switch(net, True)", "switch(net, False)", "net.train(mode=True)", "pass", "net(x)",
    "net(x)", "net(x)",
)  # fmt: skip


MANY = ("first", "second", "not first", "first and second", "first or second", "kind == 'a'", "kind != 'a'", "kind == 'b'")
ONE = ("kind == 'a'", "kind != 'a'", "not kind == 'a'")


def _block(depth: int, conditions: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    """Statements of a block, as lines."""
    simple = st.sampled_from(SIMPLE).map(lambda line: [line])
    if depth == 0:
        return st.lists(simple, min_size=1, max_size=3).map(_flat)
    inner = _block(depth - 1, conditions)

    def indented(head: str) -> st.SearchStrategy[list[str]]:
        return inner.map(lambda lines: [head, *("    " + line for line in lines)])

    branch = st.sampled_from(conditions)
    choice = st.tuples(branch, inner, inner).map(
        lambda parts: [f"if {parts[0]}:", *("    " + line for line in parts[1]), "else:", *("    " + line for line in parts[2])]
    )
    compound = st.one_of(
        choice,
        branch.flatmap(lambda test: indented(f"if {test}:")),
        indented("for _ in times:"),
        indented("with evaluating(net):"),
        st.tuples(inner, inner).map(lambda parts: ["try:", *("    " + line for line in parts[0]), "finally:", *("    " + line for line in parts[1])]),
        branch.map(lambda test: [f"if {test}:", "    return net(x)"]),
        inner.map(lambda lines: ["was = net.training", *lines, "net.train(was)"]),
    )
    return st.lists(st.one_of(simple, simple, compound), min_size=1, max_size=4).map(_flat)


def _flat(parts: list[list[str]]) -> list[str]:
    return [line for part in parts for line in part]


class _Module:
    """What the programs need of ``nn.Module``."""

    log: list[tuple[int, str]]

    def __init__(self) -> None:
        self.training = True

    def train(self, mode: bool = True) -> Any:
        self.training = bool(mode)
        return self

    def eval(self) -> Any:
        return self.train(mode=False)

    def __call__(self, _x: object) -> object:
        import sys

        self.log.append((sys._getframe(1).f_lineno, "train" if self.training else "eval"))
        return object()


def _concrete(code: str) -> set[tuple[int, str]]:
    """Lines of calls with the mode they were made in, over all inputs; loops run more than once, as those over data do."""
    found: set[tuple[int, str]] = set()
    for first, second, kind, times in itertools.product([False, True], [False, True], "abc", [[0, 0], [0, 0, 0]]):
        log: list[tuple[int, str]] = []
        namespace: dict[str, Any] = {}
        source = code.replace("from torch import nn", "")
        modules = type("nn", (), {"Module": type("Module", (_Module,), {"log": log}), "BatchNorm1d": lambda _size: None})
        namespace["nn"] = modules
        exec(compile(source, "script.py", "exec"), namespace)
        namespace["script"](first, second, kind, times, None)
        found.update(log)
    return found


def _abstract(code: str, folder: Path) -> set[tuple[int, str]]:
    path = folder / "script.py"
    path.write_text(code, encoding="utf-8")
    result = analyze(path, Project([folder]))
    assert result.problems == ()
    assert result.notes == ()
    return {(event.location.line, event.attributes["mode"]) for event in result.events if event.kind == "model_call"}


def _code(body: list[str]) -> str:
    return HEAD + textwrap.indent("\n".join([*body, "net(x)"]), "    ") + "\n"


_SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@_SETTINGS
@given(body=_block(3, MANY))
def test_every_mode_is_foreseen(body: list[str], tmp_path: Path) -> None:
    """A call is in no mode that the interpreter does not expect there, unless it says that it does not know."""
    concrete, abstract = _concrete(_code(body)), _abstract(_code(body), tmp_path)
    vague = {line for line, mode in abstract if mode in {"mixed", "unknown"}}
    assert {(line, mode) for line, mode in concrete if (line, mode) not in abstract and line not in vague} == set()


@_SETTINGS
@given(body=_block(3, ONE))
def test_no_mode_is_made_up(body: list[str], tmp_path: Path) -> None:
    """Where paths depend on one condition, no mode is claimed for a call that no run shows."""
    concrete, abstract = _concrete(_code(body)), _abstract(_code(body), tmp_path)
    assert {(line, mode) for line, mode in abstract if mode in {"train", "eval"} and (line, mode) not in concrete} == set()


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_condition_holds_until_its_name_changes(name: str, tmp_path: Path) -> None:
    """What was assumed of a flag is forgotten when the flag is bound anew."""
    body = f"if {name}:\n    net.eval()\n{name} = x\nif {name}:\n    net(x)\n"
    assert _abstract(HEAD + textwrap.indent(body, "    "), tmp_path) == {(42, "eval"), (42, "train")}
