from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from normadvisor.errors import TargetError
from normadvisor.script.project import ClassInfo, Project, SourceModule
from normadvisor.types import Location

NET = "import torch.nn as nn\n\n\nclass Net(nn.Module):\n    class Inner(nn.Module):\n        pass\n\n    def build(self):\n        pass\n"


def said(found: object, root: Path) -> str:
    """A resolved name as text."""
    if isinstance(found, SourceModule):
        return f"module {Path(found.path).relative_to(root)}"
    if isinstance(found, ClassInfo):
        return f"class {Path(found.module.path).relative_to(root)}:{found.qualname}"
    if isinstance(found, tuple):
        node = found[1]
        return f"{type(node).__name__} {Path(found[0].path).relative_to(root)}:{node.lineno}"
    return f"external {found}"


@pytest.mark.parametrize(
    ("files", "script", "name", "expected"),
    [
        ({"net.py": NET, "train.py": "from net import Net"}, "train.py", "Net", "class net.py:Net"),
        ({"tools/net.py": NET, "tools/train.py": "from net import Net"}, "tools/train.py", "Net", "class tools/net.py:Net"),
        ({"net.py": NET, "tools/train.py": "from net import Net"}, "tools/train.py", "Net", "class net.py:Net"),
        ({"src/pkg/__init__.py": "", "src/pkg/net.py": NET, "t/a.py": "import pkg.net as n"}, "t/a.py", "n", "module src/pkg/net.py"),
        ({"models/net.py": NET, "train.py": "from models.net import Net"}, "train.py", "Net", "class models/net.py:Net"),
        ({"p/__init__.py": "from .net import Net", "p/net.py": NET, "a.py": "from p import Net"}, "a.py", "Net", "class p/net.py:Net"),
        ({"p/__init__.py": "", "p/net.py": NET, "p/q/__init__.py": "", "p/q/a.py": "from ..net import Net"}, "p/q/a.py", "Net", "class p/net.py:Net"),
        ({"p/__init__.py": "", "p/net.py": NET, "p/a.py": "from . import net"}, "p/a.py", "net", "module p/net.py"),
        ({"net.py": NET, "a.py": "from net import *"}, "a.py", "Net", "class net.py:Net"),
        ({"net.py": "__all__ = ['f']\n" + NET + "def f(): pass", "a.py": "from net import *"}, "a.py", "Net", "None"),
        ({"net.py": "__all__ = ['f']\n" + NET + "def f(): pass", "a.py": "from net import *"}, "a.py", "f", "FunctionDef net.py:11"),
        ({"net.py": NET, "a.py": "try:\n    from net import Net\nexcept ImportError:\n    Net = None"}, "a.py", "Net", "class net.py:Net"),
        ({"net.py": NET, "a.py": "def f():\n    from net import Net"}, "a.py", "Net", "class net.py:Net"),
        ({"net.py": NET + "\nAlias = Net", "a.py": "from net import Alias"}, "a.py", "Alias", "class net.py:Net"),
        ({"net.py": "lr = 0.1", "a.py": "from net import lr"}, "a.py", "lr", "Assign net.py:1"),
        ({"p/__init__.py": "from .att import att", "p/att.py": "def att(): pass", "a.py": "from p import att"}, "a.py", "att", "FunctionDef p/att.py:1"),
        ({"p/__init__.py": "", "p/types.py": NET, "p/a.py": "import types"}, "p/a.py", "types", "external types"),
        ({"p/__init__.py": "", "p/torch.py": NET, "p/a.py": "from torch import nn"}, "p/a.py", "nn", "external torch.nn"),
        ({"a.py": "from torch.nn.modules.batchnorm import BatchNorm2d as B"}, "a.py", "B", "external torch.nn.BatchNorm2d"),
        ({"a.py": "import torch.nn.functional as F"}, "a.py", "F", "external torch.nn.functional"),
        ({"a.py": "from torch.utils.data.dataloader import DataLoader"}, "a.py", "DataLoader", "external torch.utils.data.DataLoader"),
        ({"a.py": "from torchvision.models.resnet import resnet18"}, "a.py", "resnet18", "external torchvision.models.resnet18"),
        ({"a.py": "from transformers.models.bert.modeling_bert import BertModel"}, "a.py", "BertModel", "external transformers.BertModel"),
        ({"a.py": "from lightning.pytorch import LightningModule as L"}, "a.py", "L", "external pytorch_lightning.LightningModule"),
        ({"a.py": "from torch.nn import *"}, "a.py", "Linear", "external torch.nn.Linear"),
        ({"a.py": "from missing import *\nfrom missing import x"}, "a.py", "x", "external missing.x"),
        ({"a.py": "x = 1"}, "a.py", "print", "None"),
    ],
)
def test_what_a_name_means(written, tmp_path, files, script, name, expected):
    project, load = written(files)
    found = project.lookup(name, load(script))
    assert (said(found, tmp_path) if found is not None else "None") == expected


def test_a_dotted_name_reaches_into_classes(written, tmp_path):
    project, load = written({"net.py": NET, "a.py": "import net"})
    module = load("a.py")
    found = [said(project.resolve(name, module), tmp_path) for name in ("net", "net.Net.Inner", "net.Net.build", "net.absent", "numpy.x")]
    assert found == ["module net.py", "class net.py:Net.Inner", "FunctionDef net.py:8", "external net.absent", "external numpy.x"]


def test_imports_and_definitions_of_a_file(written):
    _, load = written(
        {
            "p/__init__.py": "",
            "p/a.py": "import torch.nn as nn, os.path\nfrom .b import c as d\nx: int = 1\nif x:\n    def f(): pass\nelse:\n    def f(): return 1\n(y, z) = 1, 2\n",
        }
    )
    module = load("p/a.py")
    assert (module.name, module.imports, {name: node.lineno for name, node in module.definitions.items()}) == (
        "p.a",
        {"nn": "torch.nn", "os": "os", "d": "p.b.c"},
        {"x": 3, "y": 8, "z": 8, "f": 5},
    )


def test_places_count_code_points(written):
    _, load = written({"a.py": "größe = net('ü', x)\n"})
    module = load("a.py")
    call = module.tree.body[0].value
    assert (module.location(call), module.segment(call)) == (Location(module.path, 1, 9, 1, 20), "net('ü', x)")


def test_places_in_a_notebook_count_within_the_cell(written, tmp_path):
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    notebook = {
        "cells": [{**cell, "source": ["import torch\n", "x = 1"]}, {**cell, "source": ["\n", "y = 2"]}],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    _, load = written({"a.ipynb": json.dumps(notebook)})
    module = load("a.ipynb")
    assert module.is_notebook
    assert module.location(module.definitions["y"]) == Location(module.path, 2, 1, 2, 6, cell=2)


def test_files_read_on_behalf_of_a_script(written, tmp_path):
    project, load = written({"a.py": "from b import f", "b.py": "from c import f", "c.py": "def f(): pass", "d.py": ""})
    module = load("a.py")
    assert project.read_paths(module) == set()
    project.lookup("f", module)
    assert project.read_paths(module) == {str(tmp_path / "b.py"), str(tmp_path / "c.py")}


def test_an_installed_package_does_not_see_its_neighbours(tmp_path):
    for name in ("site/torchy/__init__.py", "site/net/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text("import torchy\nimport net\n")
    project = Project([tmp_path / "site" / "net"])
    module = project.load(tmp_path / "site" / "net" / "__init__.py")
    assert (project.lookup("torchy", module), project.lookup("net", module)) == ("torchy", module)


def test_a_file_that_does_not_parse_is_an_error_once_asked_for(written):
    project, load = written({"a.py": "from bad import f", "bad.py": "def f(:"})
    assert project.lookup("f", load("a.py")) == "bad.f"
    with pytest.raises(TargetError, match="not valid Python"):
        load("bad.py")


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 5000 + "1" + ")" * 5000,
        "x = " + "-" * 50000 + "1",
        "x = " + " + ".join(["1"] * 20000),
        "if a:\n    pass\n" + "elif a:\n    pass\n" * 3000,
    ],
)
def test_deep_nesting_ends_in_an_error_or_a_module(written, text):
    _, load = written({"a.py": text})
    try:
        module = load("a.py")
    except TargetError as error:
        assert error.message
    else:
        assert isinstance(module.tree, ast.Module)


def test_circles_of_imports_end(written):
    project, load = written(
        {
            "a.py": "from b import *\nfrom b import x",
            "b.py": "from a import *\nfrom a import x\nfrom c import *",
            "c.py": "from c import *\nfrom missing import *\nclass Y: pass",
        }
    )
    module = load("a.py")
    found = [project.lookup(name, module) for name in ("x", "Y", "absent")]
    assert [type(item).__name__ for item in found] == ["str", "ClassInfo", "NoneType"]
