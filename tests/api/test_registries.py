"""What a module has registered with a package is taken out when the module is forgotten."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

import normadvisor
from normadvisor.api.registries import unregister


class Registry:
    def __init__(self, **entries):
        self.table = entries


def made_in(module):
    return type("Net", (), {"__module__": module})


@pytest.fixture
def package(monkeypatch):
    module = ModuleType("somebodys.models")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Registry, "__module__", "somebodys.registry")
    return module


def test_entries_of_forgotten_modules_are_deleted(package):
    theirs, ours = made_in("elsewhere"), made_in("mine.net")
    package.MODELS = {"a": theirs, "b": ours, "c": 3}
    package.REGISTRY = Registry(a=ours, b=theirs)
    package.OPTIONS = SimpleNamespace(table={"a": ours})
    package.same = package.MODELS
    assert unregister({"mine.net", "mine"}) == 2
    assert (package.MODELS, package.REGISTRY.table) == ({"a": theirs, "c": 3}, {"b": theirs})


def test_nothing_is_looked_for_where_nothing_was_forgotten(package):
    package.MODELS = {"b": made_in("mine.net")}
    assert unregister(()) == 0
    assert len(package.MODELS) == 1


def test_a_model_that_registers_itself_is_fixed(in_folder):
    (in_folder / "net.py").write_text(
        "from torch import nn\nfrom torchvision.models._api import register_model\n\n\n@register_model()\ndef my_net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))\n"
    )
    run = normadvisor.fix("net.py:my_net", "2x3x8x8")
    assert ([item.finding.rule for item in run.applied], run.rolled_back) == (["NA102"], ())
