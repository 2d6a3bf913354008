from __future__ import annotations

import subprocess
import sys

import pytest

from normadvisor.targets.discover import Candidate, CandidateKind, discover
from normadvisor.types import Location


def names(tmp_path, text, **others):
    for name, content in others.items():
        (tmp_path / f"{name}.py").write_text(content)
    path = tmp_path / "model.py"
    path.write_text(text)
    return [candidate.name for candidate in discover(path)]


NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(1, 1)
    def forward(self, x):
        return self.a(x)
"""


def test_kinds_and_places(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(
        "import torch.nn as nn\nfrom torchvision import models\n" + NET + "\ndef make(n=3):\n    return nn.Sequential(nn.Linear(n, n))\n"
        "\nnet = models.resnet18(num_classes=3).eval()\n"
    )
    assert discover(path) == [
        Candidate("Net", CandidateKind.CLASS, Location(str(path), 4, 1)),
        Candidate("make", CandidateKind.FACTORY, Location(str(path), 11, 1)),
        Candidate("net", CandidateKind.INSTANCE, Location(str(path), 14, 1)),
    ]


@pytest.mark.parametrize(
    ("imports", "base"),
    [
        ("import torch", "torch.nn.Module"),
        ("import torch.nn as nn", "nn.Module"),
        ("from torch import nn as N", "N.Module"),
        ("from torch.nn import Module", "Module"),
        ("from torch.nn import Module as M", "M"),
        ("from torch import nn\nBase = nn.Module", "Base"),
        ("import pytorch_lightning as pl", "pl.LightningModule"),
        ("import lightning as L", "L.LightningModule"),
        ("try:\n    from torch.nn import Module\nexcept ImportError:\n    Module = object", "Module"),
        ("from torch.nn import *", "Module"),
        ("from torch.nn.modules import *\nBase = Module", "Base"),
        ("from pytorch_lightning import *", "LightningModule"),
    ],
)
def test_spellings_of_the_base_class(tmp_path, imports, base):
    text = f"{imports}\nfrom torch.nn import Linear\nclass Net({base}):\n    def __init__(self, n=1):\n        self.a = Linear(n, n)\n    def forward(self, x):\n        return x\n"
    assert names(tmp_path, text) == ["Net"]


def test_base_class_in_a_neighbour(tmp_path):
    base = "import torch.nn as nn\nclass Base(nn.Module):\n    def __init__(self, n): ...\n    def forward(self, x): ...\n"
    text = "from base import Base\nclass A(Base):\n    def __init__(self):\n        super().__init__(3)\n        self.a = nn.ReLU()\nclass B(Base): pass\nimport torch.nn as nn\n"
    assert names(tmp_path, text, base=base) == ["A"]


@pytest.mark.parametrize(
    "body",
    [
        "    def __init__(self, n): self.a = nn.Linear(n, n)\n    def forward(self, x): ...",  # needs an argument
        "    def __init__(self, *, n): self.a = nn.Linear(n, n)\n    def forward(self, x): ...",
        "    def __init__(self): self.a = nn.Linear(1, 1)",  # no forward
        "    def forward(self, x): return x * x.sigmoid()",  # holds no layers
        "    def __init__(self): self.loss = nn.MSELoss()\n    def forward(self, x, y): return self.loss(x, y)",  # a loss
        "    def __init__(self): self.a = nn.Linear(1, 1)\n    @abc.abstractmethod\n    def forward(self, x): ...",
    ],
)
def test_classes_that_are_no_models(tmp_path, body):
    assert names(tmp_path, f"import abc\nfrom torch import nn\nclass Net(nn.Module):\n{body}\n") == []


def test_blocks_of_a_model_are_part_of_it(tmp_path):
    text = "from torch import nn\n" + NET.replace("Net", "Block") + NET.replace("Net", "Whole").replace("nn.Linear(1, 1)", "Block()")
    assert names(tmp_path, text) == ["Whole"]
    needy = NET.replace("Net", "Whole").replace("nn.Linear(1, 1)", "Block()").replace("__init__(self)", "__init__(self, n)")
    assert names(tmp_path, "from torch import nn\n" + NET.replace("Net", "Block") + needy) == ["Block"]


def test_block_given_as_a_class_through_a_helper(tmp_path):
    text = "from torch import nn\n" + NET.replace("Net", "Block") + "def stack(block): return nn.Sequential(block())\n"
    text += NET.replace("Net", "Whole").replace("nn.Linear(1, 1)", "stack(Block)")
    assert names(tmp_path, text) == ["Whole"]


def test_a_subclass_is_no_part(tmp_path):
    text = "from torch import nn\n" + NET + "class Wider(Net):\n    def __init__(self):\n        super().__init__()\n        self.b = nn.Linear(2, 2)\n"
    assert names(tmp_path, text) == ["Net", "Wider"]


def test_once_for_a_class_and_its_wrappers(tmp_path):
    text = "from torch import nn\n" + NET + "def make():\n    '''Doc.'''\n    return Net()\nnet = Net().to('cpu')\n"
    assert names(tmp_path, text) == ["Net"]


def test_factories_stand_for_the_class_they_configure(tmp_path):
    text = "from torch import nn\n" + NET.replace("__init__(self)", "__init__(self, n=1)")
    text += "def small(): return Net(1)\ndef large():\n    net = Net(8)\n    return net\n"
    assert names(tmp_path, text) == ["small", "large"]


@pytest.mark.parametrize(
    "function",
    [
        "def make(n): return nn.Sequential(nn.Linear(n, n))",
        "def _make(): return nn.Sequential(nn.Linear(1, 1))",
        "def main(): return nn.Sequential(nn.Linear(1, 1))",
        "def learn():\n    net = nn.Sequential(nn.Linear(1, 1))\n    net(x).backward()\n    return net",
        "def make(): return 3",
        "def make(): return nn.Linear",
        "def make():\n    def inner(): return nn.Sequential(nn.Linear(1, 1))\n    return 3",
        "@pytest.fixture\ndef net(): return nn.Sequential(nn.Linear(1, 1))",
        "async def make(): return nn.Sequential(nn.Linear(1, 1))",
        "criterion = nn.CrossEntropyLoss()",
        "act = nn.ReLU()",
        "if __name__ == '__main__':\n    net = nn.Sequential(nn.Linear(1, 1))",
    ],
)
def test_what_is_no_factory_and_no_model(tmp_path, function):
    assert names(tmp_path, f"from torch import nn\n{function}\n") == []


@pytest.mark.parametrize(
    "function",
    [
        "def make() -> nn.Module: return registry['net']()",
        "def make() -> 'nn.Module': return registry['net']()",
        "def make(pretrained=False):\n    net = models.resnet18()\n    net.fc = nn.Linear(512, 2)\n    return net",
        "def make(): return timm.create_model('resnet18').to('cpu')",
        "def make():\n    layers = []\n    return nn.Sequential(*layers)",
        "def make(): return transformers.AutoModel.from_config(config)",
    ],
)
def test_factories(tmp_path, function):
    assert names(tmp_path, f"import timm, transformers\nfrom torch import nn\nfrom torchvision import models\n{function}\n") == ["make"]


def test_a_file_without_models(tmp_path):
    assert names(tmp_path, "import json\nclass Net: pass\n") == []


def test_discovery_imports_no_torch(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("from torch import nn\n" + NET)
    code = f"import sys; from pathlib import Path; from normadvisor.targets.discover import discover; assert discover(Path({str(path)!r})); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_deep_expressions_end_without_a_traceback(tmp_path):
    assert names(tmp_path, "from torch import nn\nx = " + "+".join(["1"] * 900) + "\n") == []


def test_all_names_of_a_module_are_imported(tmp_path):
    text = "from common import *\nfrom torch.nn import *\n" + NET + "\nclass Other(Base):\n    pass\n\nmake = Sequential(Linear(1, 1))\n"
    common = "import torch.nn as nn\nfrom blocks import Block as Base\nfrom model import *\n"
    block = NET.replace("Net", "Block")
    assert names(tmp_path, text, common=common, blocks="from torch.nn import *\nimport torch.nn as nn\n" + block) == ["Net", "Other", "make"]


def test_a_star_gives_no_names_that_the_file_has_of_its_own(tmp_path):
    own = "class Module:\n    pass\n"
    assert names(tmp_path, "from torch.nn import *\nfrom torch import nn\n" + own + NET.replace("nn.Module", "Module")) == []
    assert names(tmp_path, "from torch.nn import *\nfrom torch import nn\n" + NET.replace("nn.Module", "ValueError")) == []


def test_what_makes_something_of_each_argument_is_no_model_without_any(tmp_path):
    made = "def mlp(*sizes):\n    return nn.Sequential(*[nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])\n"
    passed = "def make(*args):\n    return Net(*args)\ndef more(*args, n=1):\n    return nn.Sequential(nn.Linear(n, len(args)))\n"
    assert names(tmp_path, "from torch import nn\n" + NET.replace("self)", "self, n=1)", 1) + made + passed) == ["make", "more"]
