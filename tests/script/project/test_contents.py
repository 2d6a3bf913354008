from __future__ import annotations

import pytest

from normadvisor.script.project.contents import (
    NOTHING_HELD,
    UNKNOWN_CONTENTS,
    Contents,
    Layer,
    contents_of_class,
    contents_of_extern,
    contents_of_function,
    union,
)
from normadvisor.script.values import NOTHING, Arguments, Class, Const, Extern

HEAD = "import torch, torch.nn as nn, torch.nn.functional as F, torchvision, timm, collections, functools\n"


def held(contents):
    """Kinds held, and each layer with its line."""
    layers = [f"{layer.name}:{layer.location.line if layer.location else '-'}" for layer in contents.layers]
    return contents.batchnorm, contents.dropout, contents.other, sorted(layers)


def module(body: str, parameters: str = "", forward: str = "return x") -> str:
    """A module whose constructor is ``body``; its first statement stands in line 5."""
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    return f"{HEAD}class N(nn.Module):\n    def __init__(self{parameters}):\n        super().__init__()\n{lines}\n    def forward(self, x):\n        {forward}\n"


@pytest.mark.parametrize(
    ("body", "parameters", "expected"),
    [
        ("self.a = nn.Linear(1, 2)", "", ("no", "no", "no", [])),
        ("self.a = nn.BatchNorm2d(3)", "", ("yes", "no", "no", ["BatchNorm2d:5"])),
        ("self.a = nn.BatchNorm2d(3, track_running_stats=False)", "", ("no", "no", "no", [])),
        ("self.a = nn.Sequential(nn.Linear(1, 2),\n    nn.Dropout())", "", ("no", "yes", "no", ["Dropout:6"])),
        ("self.a = nn.Dropout(0)", "", ("no", "no", "no", [])),
        ("self.a = nn.Dropout(p)", ", p=0.0", ("no", "no", "no", [])),
        ("self.a = nn.Dropout(p)", ", p=0.1", ("no", "yes", "no", ["Dropout:5"])),
        ("self.a = nn.Dropout(p)", ", p", ("no", "unknown", "no", ["Dropout:5"])),
        ("self.a = nn.Dropout(p) if p > 0 else nn.Identity()", ", p=0.", ("no", "no", "no", [])),
        ("self.a = nn.Dropout(p) if p else None", ", p", ("no", "unknown", "no", ["Dropout:5"])),
        ("self.a = nn.LSTM(1, 2, dropout=.5)", "", ("no", "no", "no", [])),
        ("self.a = nn.LSTM(1, 2, num_layers=2, dropout=.5)", "", ("no", "yes", "no", ["LSTM:5"])),
        ("self.a = nn.TransformerEncoderLayer(8, 2)", "", ("no", "yes", "no", ["TransformerEncoderLayer:5"])),
        ("self.a = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, dropout=0), 2)", "", ("no", "no", "no", [])),
        ("self.a = nn.MultiheadAttention(8, 2)", "", ("no", "no", "no", [])),
        ("self.a = nn.InstanceNorm2d(8)", "", ("no", "no", "no", [])),
        ("self.a = nn.InstanceNorm2d(8, track_running_stats=True)", "", ("no", "no", "yes", ["InstanceNorm2d:5"])),
        ("self.a = nn.utils.spectral_norm(nn.Linear(1, 2))", "", ("no", "no", "yes", ["spectral_norm:5"])),
        ("self.a = nn.RReLU()", "", ("no", "yes", "no", ["RReLU:5"])),
        ("self.a = norm(3)", ", norm=nn.BatchNorm2d", ("yes", "no", "no", ["BatchNorm2d:5"])),
        ("if norm is None: norm = nn.BatchNorm2d\nself.a = norm(3)", ", norm=None", ("yes", "no", "no", ["BatchNorm2d:6"])),
        ("norm = norm or nn.BatchNorm2d\nself.a = norm(3)", ", norm=None", ("yes", "no", "no", ["BatchNorm2d:6"])),
        ("norm = functools.partial(nn.BatchNorm2d, eps=1e-3)\nself.a = norm(3)", "", ("yes", "no", "no", ["BatchNorm2d:6"])),
        ("self.a = {'bn': nn.BatchNorm2d, 'ln': nn.LayerNorm}[norm](3)", ", norm='bn'", ("yes", "no", "no", ["BatchNorm2d:5"])),
        ("self.a = {'bn': nn.BatchNorm2d, 'ln': nn.LayerNorm}[norm](3)", ", norm", ("unknown", "no", "no", ["BatchNorm2d:5"])),
        ("self.a = getattr(nn, f'BatchNorm{d}d')(3)", ", d=2", ("yes", "no", "no", ["BatchNorm2d:5"])),
        ("if bn:\n    self.a = nn.BatchNorm1d(3)", ", bn=False", ("no", "no", "no", [])),
        ("if bn:\n    self.a = nn.BatchNorm1d(3)", ", bn", ("unknown", "no", "no", ["BatchNorm1d:6"])),
        ("if d:\n    self.a = nn.BatchNorm1d(3)\nelse:\n    self.a = nn.BatchNorm2d(3)", ", d", ("yes", "no", "no", ["BatchNorm1d:6", "BatchNorm2d:8"])),
        ("layers = []\nfor i in range(3):\n    layers += [nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)]\nself.a = nn.Sequential(*layers)", "", ("yes", "no", "no", ["BatchNorm2d:7"])),
        ("self.a = nn.ModuleList([nn.Dropout(.1) for _ in range(n)])", ", n", ("no", "yes", "no", ["Dropout:5"])),
        ("self.a = nn.Sequential(collections.OrderedDict([('n', nn.BatchNorm1d(3))]))", "", ("yes", "no", "no", ["BatchNorm1d:5"])),
        ("self.add_module('a', nn.BatchNorm1d(3))", "", ("yes", "no", "no", ["BatchNorm1d:5"])),
        ("self.a = torchvision.models.resnet18()", "", ("yes", "no", "no", ["BatchNorm2d:-"])),
        ("self.a = torchvision.models.vgg16_bn().features", "", ("yes", "unknown", "no", ["BatchNorm2d:-", "Dropout:-"])),
        ("self.a = timm.create_model('vit_tiny_patch16_224')", "", ("no", "no", "no", [])),
    ],
)
def test_what_a_constructor_builds(written, body, parameters, expected):
    project, load = written({"a.py": module(body, parameters)})
    assert held(contents_of_class(project, project.lookup("N", load("a.py")))) == expected


@pytest.mark.parametrize("body", ["self.a = backbone", "self.a = elsewhere.Net()", "self.a = nn.Sequential(make(), nn.ReLU())", "self.a = torch.hub.load('a', 'b')"])
def test_what_cannot_be_looked_into_is_unknown(written, body):
    text = "import elsewhere\nfrom elsewhere import make\n" + module(body, ", backbone", "return self.a(x)")
    project, load = written({"a.py": text})
    assert held(contents_of_class(project, project.lookup("N", load("a.py")))) == ("unknown", "unknown", "unknown", [])


def test_what_is_no_module_makes_nothing_unknown(written):
    body = "self.size = config.size\nself.log = logging.getLogger()\nself.names = config.names.split(',')\nself.a = nn.Linear(self.size, 1)"
    project, load = written({"a.py": "import logging\n" + module(body, ", config", "return self.a(x)")})
    assert contents_of_class(project, project.lookup("N", load("a.py"))) == NOTHING_HELD


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        ("return F.dropout(x, training=self.training)", ("no", "yes", "no", ["dropout:7"])),
        ("return F.dropout(x, 0.0, self.training)", ("no", "no", "no", [])),
        ("return F.dropout(x, self.p, self.training)", ("no", "yes", "no", ["dropout:7"])),
        ("return F.dropout(x)", ("no", "no", "no", [])),
        ("return F.dropout(x, training=True)", ("no", "no", "no", [])),
        ("return F.batch_norm(x, self.m, self.v, training=self.training)", ("yes", "no", "no", ["batch_norm:7"])),
        ("return F.scaled_dot_product_attention(x, x, x, dropout_p=self.p if self.training else 0.0)", ("no", "yes", "no", ["scaled_dot_product_attention:7"])),
    ],
)
def test_functions_that_follow_the_mode(written, forward, expected):
    project, load = written({"a.py": module("self.p = 0.3", "", forward)})
    assert held(contents_of_class(project, project.lookup("N", load("a.py")))) == expected


def test_arguments_decide(written):
    body = "self.a = norm(3) if norm else None\nself.b = nn.Dropout(p)"
    project, load = written({"a.py": module(body, ", norm=None, p=0.0")})
    info = project.lookup("N", load("a.py"))
    cases = [
        None,
        Arguments((Extern("torch.nn.BatchNorm2d"),)),
        Arguments((), (("p", Const(0.5)),)),
        Arguments((), (("p", NOTHING),)),
        Arguments((), (("norm", Extern("torch.nn.LayerNorm")),)),
        Arguments((Class(info),)),
    ]
    assert [held(contents_of_class(project, info, case))[:2] for case in cases] == [
        ("no", "no"),
        ("yes", "no"),
        ("no", "yes"),
        ("no", "unknown"),
        ("no", "no"),
        ("no", "no"),
    ]


def test_parts_inheritance_and_helpers_across_files(written):
    project, load = written(
        {
            "blocks.py": "import torch.nn as nn\ndef conv_bn(a, b):\n    return nn.Sequential(nn.Conv2d(a, b, 1), nn.BatchNorm2d(b))\n"
            "class Drop(nn.Dropout):\n    pass\nclass Base(nn.Module):\n    def __init__(self, p):\n        super().__init__()\n        self.d = Drop(p)\n",
            "net.py": "from blocks import *\nclass N(Base):\n    def __init__(self, p=0.5):\n        super().__init__(p)\n        self.c = conv_bn(1, 2)\n",
        }
    )
    found = contents_of_class(project, project.lookup("N", load("net.py")))
    assert held(found) == ("yes", "yes", "no", ["BatchNorm2d:3", "Drop:9"])
    assert {layer.location.path.rpartition("/")[2] for layer in found.layers} == {"blocks.py"}


def test_hand_written_layers_are_recognised(written):
    text = HEAD + (
        "class BN(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n        self.register_buffer('running_mean', torch.zeros(n))\n"
        "    def forward(self, x):\n        if self.training: self.running_mean += x.mean()\n        return x - self.running_mean\n"
        "class DropPath(nn.Module):\n    def __init__(self, drop_prob=0.):\n        super().__init__()\n        self.drop_prob = drop_prob\n"
        "    def forward(self, x):\n        return x * self.drop_prob if self.training else x\n"
        "class N(nn.Module):\n    def __init__(self, rate):\n        super().__init__()\n        self.a = BN(3)\n        self.b = DropPath(0.)\n        self.c = DropPath(.1)\n"
    )
    project, load = written({"a.py": text})
    assert held(contents_of_class(project, project.lookup("N", load("a.py")))) == ("yes", "yes", "no", ["BN:18", "DropPath:20"])


def test_factories(written):
    text = HEAD + (
        "def make(p=0.):\n    m = torchvision.models.resnet18()\n    m.fc = nn.Sequential(nn.Dropout(p), nn.Linear(1, 2), nn.Softmax(1))\n    return m\n"
        "def head(n):\n    return nn.Sequential(nn.Linear(1, n), nn.LogSoftmax(1))\n"
        "def other():\n    import elsewhere\n    return elsewhere.Net()\n"
    )
    project, load = written({"a.py": text})
    source = load("a.py")
    found = [contents_of_function(project, source, source.definitions[name]) for name in ("make", "head", "other")]
    assert [(*held(item), item.ends_with) for item in found] == [
        ("yes", "no", "no", ["BatchNorm2d:-"], None),
        ("no", "no", "no", [], "log_softmax"),
        ("unknown", "unknown", "unknown", [], None),
    ]


def test_every_norm_is_listed_apart(written):
    project, load = written({"a.py": module("self.a = nn.LayerNorm(3)\nself.b = nn.BatchNorm1d(3)\nself.c = nn.GroupNorm(1, 3)")})
    found = contents_of_class(project, project.lookup("N", load("a.py")))
    assert [layer.name for layer in found.norms] == ["LayerNorm", "BatchNorm1d", "GroupNorm"]


def test_layers_of_libraries():
    assert [contents_of_extern(name) for name in ("torch.nn.Linear", "torch.nn.Sequential", "elsewhere.Net")] == [NOTHING_HELD, None, None]
    layer = Layer("Dropout", None, "dropout")
    assert contents_of_extern("torch.nn.Dropout") == Contents(dropout="yes", layers=(layer,))
    assert contents_of_extern("torch.nn.Dropout", Arguments((Const(0),))) == NOTHING_HELD


def test_a_whole_holds_what_its_parts_hold():
    layer = Layer("Dropout", None, "dropout")
    assert union() == NOTHING_HELD
    assert union(Contents(dropout="yes", layers=(layer,), ends_with="softmax"), UNKNOWN_CONTENTS) == Contents(
        "unknown", "yes", "unknown", layers=(layer,), batchnorm_over_features="unknown"
    )


@pytest.mark.parametrize(
    "text",
    [
        "class A(N): pass\nclass N(A):\n    def __init__(self): self.a = A()\n",
        "import torch.nn as nn\nclass N(nn.Module):\n    def __init__(self, d=0):\n        super().__init__()\n        self.a = N(d + 1)\n",
        "import torch.nn as nn\ndef f(n): return g(n)\ndef g(n): return f(n)\nclass N(nn.Module):\n    def __init__(self):\n        self.a = f(1)\n",
        "import torch.nn as nn\nclass N(nn.Module):\n    def __init__(self, a):\n        if a == 0: pass\n"
        + "".join(f"        elif a == {i}: self.a = nn.Dropout()\n" for i in range(1, 900)),
        "import torch.nn as nn\nclass N(nn.Module):\n    def __init__(self):\n" + "        self.a = nn.Linear(1, 1)\n" * 10000,
        "import torch.nn as nn\nclass N(nn.Module):\n    def __init__(self, x):\n        self.a = " + "x(" * 180 + ")" * 180 + "\n",
        "from missing import *\nclass N(Base):\n    x = x\n    def __init__(self): self.a = self.a\n",
        "import torch.nn as nn\nx = y\ny = x\nclass N(nn.Module):\n    def __init__(self): self.a = x(1)\n",
    ],
)
def test_hostile_code_ends(written, text):
    project, load = written({"a.py": text})
    assert isinstance(contents_of_class(project, project.lookup("N", load("a.py"))), Contents)
