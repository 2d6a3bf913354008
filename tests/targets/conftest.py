from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from normadvisor.targets.build import build
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target


@pytest.fixture(autouse=True)
def _imports_are_undone(monkeypatch):
    """Targets put folders on ``sys.path`` and modules into ``sys.modules``; a worker ends after them, a test does not."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.partition(".")[0] not in {"torch", "torchvision", "timm", "transformers", "numpy", "normadvisor", "sympy", "scipy"}:
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    """Write a file below the test's folder."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def from_zoo(tmp_path):
    """Build a target of a model zoo; the test is skipped where the zoo is not installed."""

    def from_zoo(target):
        library = target.partition(":")[0].partition(".")[0]
        if find_spec(library) is None:
            pytest.skip(f"NOT CHECKED: {library} is not installed, so none of its models are built (extra `zoo`)")
        return build(load(parse_target(target, tmp_path)))

    return from_zoo
