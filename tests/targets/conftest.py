from __future__ import annotations

import sys

import pytest


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
