from __future__ import annotations

import importlib
import inspect
import linecache
import sys
from pathlib import Path

import pytest
import torch  # noqa: F401 - it can be imported once in a process, so not within a test that forgets modules

from normadvisor.files.overlay import overlaid
from normadvisor.targets.discover import discover
from normadvisor.targets.load import load
from normadvisor.targets.overlay import forget_modules, importing_overlaid, is_installed
from normadvisor.targets.parse import parse_target


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of which ``top`` uses ``base``, and ``other`` uses neither."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "overlaid_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "base.py").write_text("def value():\n    return 'disk'\n")
    (folder / "top.py").write_text("from overlaid_package.base import value\n\nresult = value()\n")
    (folder / "other.py").write_text("token = object()\n")
    return folder


def _byte_code(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.pyc")}


def test_imports_run_the_overlay_and_leave_byte_code_alone(package):
    importlib.import_module("overlaid_package.base")
    compiled = _byte_code(package)
    assert len(compiled) == 2
    forget_modules(set(sys.modules) - {"overlaid_package", "overlaid_package.base"})
    with overlaid({package / "base.py": b"# -*- coding: latin-1 -*-\r\ndef value():\r\n    return '\xe4'\r\n"}), importing_overlaid():
        module = importlib.import_module("overlaid_package.base")
        assert module.value() == "ä"
        assert inspect.getsource(module.value) == "def value():\n    return 'ä'\n"
        assert linecache.getline(str(package / "base.py"), 3) == "    return 'ä'\n"
        assert module.__loader__.get_source("overlaid_package.base") == "# -*- coding: latin-1 -*-\ndef value():\n    return 'ä'\n"
        linecache.checkcache()
        assert inspect.getsource(module.value) == "def value():\n    return 'ä'\n"
    assert linecache.getline(str(package / "base.py"), 2) == "    return 'disk'\n"
    assert _byte_code(package) == compiled
    forget_modules(set(sys.modules) - {"overlaid_package.base"})
    assert importlib.import_module("overlaid_package.base").value() == "disk"


def test_lines_that_were_read_before_are_read_again(package):
    path = str(package / "base.py")
    assert linecache.getline(path, 1) == "def value():\n"
    with overlaid({package / "base.py": b"first = 1"}), importing_overlaid():
        assert linecache.getlines(path) == ["first = 1\n"]
        assert linecache.getline(str(package / "other.py"), 1) == "token = object()\n"


def test_the_loader_is_as_before_afterwards(package):
    loader = importlib.machinery.SourceFileLoader
    before = (dict(vars(loader)), linecache.updatecache)
    with importing_overlaid(), importing_overlaid():
        assert loader.__dict__["get_code"] is not before[0].get("get_code")
    assert (dict(vars(loader)), linecache.updatecache) == before


def test_a_second_import_is_anew_through_every_module_between(package, tmp_path, monkeypatch):
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "overlay_installed.py").write_text("registry = []\n")
    (installed / "overlay_depends.py").write_text("from overlaid_package import top\n")
    monkeypatch.syspath_prepend(str(installed))
    snapshot = set(sys.modules)
    top = importlib.import_module("overlaid_package.top")
    other = importlib.import_module("overlaid_package.other")
    kept = importlib.import_module("overlay_installed")
    depends = importlib.import_module("overlay_depends")
    assert (is_installed(kept), is_installed(depends), is_installed(top)) == (True, True, False)
    with overlaid({package / "base.py": b"def value():\n    return 'overlay'\n"}), importing_overlaid():
        gone = forget_modules(snapshot)
        names = ["base", "other", "top"]
        assert gone == {"overlaid_package", *(f"overlaid_package.{name}" for name in names), "overlay_depends"}
        again = importlib.import_module("overlaid_package.top")
        assert (top.result, again.result) == ("disk", "overlay")
        assert importlib.import_module("overlaid_package.other") is not other
        assert importlib.import_module("overlay_depends").top is again
        assert importlib.import_module("overlay_installed") is kept


def test_registries_that_stay_take_the_same_names_again(tmp_path, monkeypatch):
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "overlay_registry.py").write_text(
        "from collections import OrderedDict\n\nTABLE = OrderedDict(own=1)\n\nclass Registry:\n    def __init__(self):\n        self.entries = {}\n\nREGISTRY = Registry()\n\n"
        "def register(item):\n    assert item.__name__ not in TABLE and item.__name__ not in REGISTRY.entries\n"
        "    TABLE[item.__name__] = REGISTRY.entries[item.__name__] = item\n    return item\n"
    )
    (tmp_path / "overlay_registers.py").write_text(
        "from overlay_registry import register\n\n@register\nclass Net:\n    pass\n\n@register\ndef net():\n    pass\n"
    )
    for folder in (tmp_path, installed):
        monkeypatch.syspath_prepend(str(folder))
    snapshot = set(sys.modules)
    first = importlib.import_module("overlay_registers")
    registry = importlib.import_module("overlay_registry")
    assert forget_modules(snapshot) == {"overlay_registers"}
    second = importlib.import_module("overlay_registers")
    assert first.Net is not second.Net
    assert {"own": 1, "Net": second.Net, "net": second.net} == registry.TABLE
    assert registry.REGISTRY.entries == {"Net": second.Net, "net": second.net}


def test_a_package_that_stays_gives_up_the_modules_that_go(package):
    importlib.import_module("overlaid_package")
    snapshot = set(sys.modules)
    base = importlib.import_module("overlaid_package.base")
    assert forget_modules(snapshot) == {"overlaid_package.base"}
    from overlaid_package import base as again

    assert again is not base


def test_overlaid_files_are_forgotten_even_if_they_were_imported_before_and_are_to_be_kept(package):
    importlib.import_module("overlaid_package.top")
    importlib.import_module("overlaid_package.other")
    with overlaid({package / "base.py": b""}):
        assert forget_modules(set(sys.modules), lambda _module: True) == {"overlaid_package.base", "overlaid_package.top"}


def test_nothing_of_torch_or_this_package_is_forgotten():
    snapshot = set(sys.modules)
    importlib.import_module("torch.nn.utils.fusion")
    importlib.import_module("normadvisor.rulebook.skeleton")
    importlib.import_module("wave")
    assert forget_modules(snapshot - {"torch.nn", "normadvisor", "normadvisor.targets", "numpy"}) == frozenset()


def test_a_target_is_loaded_from_the_overlay(tmp_path):
    source = "import torch.nn as nn\n\nclass Net(nn.Module):\n    size = {size}\n\n    def forward(self, x):\n        return x\n"
    path = tmp_path / "overlaid_net.py"
    path.write_text(source.format(size=1))
    snapshot = set(sys.modules)
    target = parse_target(f"{path}:Net", tmp_path)
    first = load(target).obj
    with overlaid({path: source.format(size=22).encode()}), importing_overlaid():
        forget_modules(snapshot)
        second = load(target).obj
        assert inspect.getsource(second) == source.format(size=22).partition("\n\n")[2]
    assert (first.size, second.size) == (1, 22)


def test_models_are_found_as_the_overlay_says_also_through_files_nearby(tmp_path):
    (tmp_path / "first.py").write_text("from torch import nn\n\nclass First(nn.Module):\n    def forward(self, x):\n        return x\n")
    (tmp_path / "second.py").write_text("from first import First\n\nclass Second(First):\n    pass\n")
    third = tmp_path / "third.py"
    third.write_text("import torch\nfrom second import Second\n\nclass Third(Second):\n    def forward(self, x):\n        return x\n")
    assert [found.name for found in discover(third)] == ["Third"]
    with overlaid({tmp_path / "first.py": b"class First:\n    pass\n"}):
        assert discover(third) == []
    assert [found.name for found in discover(third)] == ["Third"]


def test_an_overlay_that_is_no_python_is_the_error_of_its_line(tmp_path):
    path = tmp_path / "overlaid_wrong.py"
    path.write_text("x = 1\n")
    with overlaid({path: b"x = 1\ny = (\n"}), importing_overlaid(), pytest.raises(Exception, match="was never closed") as caught:
        load(parse_target(f"{path}:x", tmp_path))
    assert caught.value.location.line == 2
