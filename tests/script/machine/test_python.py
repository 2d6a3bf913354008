"""The Python that scripts are written in: each program's calls of models, with line and mode."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest

from normadvisor.script import analyze
from normadvisor.script.project.modules import Project

HEAD = """\
import contextlib, functools
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
    def forward(self, x):
        return self.norm(x)
net = Net()
x = load()
"""
FIRST = HEAD.count("\n") + 1

PROGRAMS = {
    "closure": ("def make(m):\n    def run():\n        m.eval()\n    return run\nstop = make(net)\nstop()\nnet(x)", [(7, "eval")]),
    "lambda": ("off = lambda m: m.eval()\noff(net)(x)\nnet(x)", [(2, "eval"), (3, "eval")]),
    "default argument": ("def run(m=net):\n    m.eval()\nrun()\nnet(x)", [(4, "eval")]),
    "keyword arguments": ("def run(*, mode, m):\n    m.train(mode)\nrun(m=net, mode=False)\nnet(x)", [(4, "eval")]),
    "star arguments": ("def run(*models, **options):\n    for m in models:\n        m.train(options['mode'])\nrun(*[net], mode=False)\nnet(x)", [(5, "eval")]),
    "partial": ("net.train()\noff = functools.partial(Net.train, net, False)\noff()\nnet(x)", [(4, "eval")]),
    "tuple returned": ("def build():\n    a = Net()\n    return a.eval(), Net()\nfirst, second = build()\nfirst(x)\nsecond(x)", [(5, "eval"), (6, "train")]),
    "dictionary of models": (
        "models = {'a': Net(), 'b': Net()}\nmodels['a'].eval()\nmodels['a'](x)\nmodels['b'](x)\nfor m in models.values():\n    m.eval()\nmodels['b'](x)",
        [(3, "eval"), (4, "train"), (7, "eval")],
    ),
    "list appended to": ("models = []\nmodels.append(net)\nfor i, m in enumerate(models):\n    m.eval()\nnet(x)", [(5, "eval")]),
    "zip": ("for m, mode in zip([net, Net()], [False, True]):\n    m.train(mode)\nnet(x)", [(3, "eval")]),
    "comprehension": ("[m.eval() for m in (net,)]\nnet(x)", [(2, "eval")]),
    "conditional expression": ("net.train() if x else net.eval()\nnet(x)", [(2, "eval"), (2, "train")]),
    "walrus": ("if (m := net.eval()) is not None:\n    m(x)", [(2, "eval")]),
    "decorator of the project": (
        (
            "def off(fn):\n    @functools.wraps(fn)\n    def inner(m, *args):\n        m.eval()\n        return fn(m, *args)\n    return inner\n"
            "@off\ndef run(m, x):\n    return m(x)\nrun(net, x)\nnet(x)"
        ),
        [(9, "eval"), (11, "eval")],
    ),
    "decorator with arguments": (
        (
            "def mode(flag):\n    def deco(fn):\n        def inner(*args):\n            net.train(flag)\n            return fn(*args)\n        return inner\n"
            "    return deco\n@mode(False)\ndef run(x):\n    net(x)\nrun(x)"
        ),
        [(10, "eval")],
    ),
    "context manager class": (
        (
            "class Off:\n    def __init__(self, m):\n        self.m = m\n    def __enter__(self):\n        self.was = self.m.training\n        self.m.eval()\n"
            "        return self.m\n    def __exit__(self, *error):\n        self.m.train(self.was)\nwith Off(net) as m:\n    m(x)\nnet(x)"
        ),
        [(11, "eval"), (12, "train")],
    ),
    "context manager function, left by return": (
        (
            "@contextlib.contextmanager\ndef off(m):\n    m.eval()\n    try:\n        yield m\n    finally:\n        m.train()\n"
            "def run():\n    with off(net) as m:\n        return m(x)\nrun()\nnet(x)"
        ),
        [(10, "eval"), (12, "train")],
    ),
    "context managers nested deeper than they are followed": (
        (
            "@contextlib.contextmanager\ndef off(m):\n    with off(m):\n        m.eval()\n        yield m\n"
            "def run():\n    with off(net) as m:\n        return m(x)\nrun()\nnet(x)"
        ),
        [(8, "eval"), (10, "eval")],
    ),
    "context manager inside a context manager": (
        (
            "@contextlib.contextmanager\ndef off(m):\n    m.eval()\n    yield\n    m.train()\n"
            "@contextlib.contextmanager\ndef both(m, n):\n    with off(m):\n        with off(n):\n            yield\n"
            "other = Net()\ndef run():\n    with both(net, other):\n        return net(x) + other(x)\nrun()\nnet(x)\nother(x)"
        ),
        [(14, "eval"), (16, "train"), (17, "train")],
    ),
    "try and finally": ("def run():\n    net.eval()\n    try:\n        return net(x)\n    finally:\n        net.train()\nrun()\nnet(x)", [(4, "eval"), (8, "train")]),
    "exception handled": ("try:\n    net.eval()\nexcept ValueError:\n    net.eval()\nnet(x)", [(5, "eval")]),
    "early return": ("def run(flag):\n    if flag:\n        net.eval()\n        return\n    net.train()\nrun(True)\nnet(x)", [(7, "eval")]),
    "loop left by break": ("while True:\n    net.eval()\n    if x:\n        break\nnet(x)", [(5, "eval")]),
    "else of a loop": ("for i in range(3):\n    net.train()\nelse:\n    net.eval()\nnet(x)", [(5, "eval")]),
    "loop over literals": ("for phase in ['train', 'val']:\n    net.train(phase == 'train')\n    net(x)\n", [(3, "eval"), (3, "train")]),
    "second turn": ("for epoch in range(3):\n    net(x)\n    net.eval()", [(2, "eval"), (2, "train")]),
    "match": ("mode = 'off'\nmatch mode:\n    case 'on':\n        net.train()\n    case 'off':\n        net.eval()\nnet(x)", [(7, "eval")]),
    "global": ("def build():\n    global other\n    other = Net().eval()\nbuild()\nother(x)", [(5, "eval")]),
    "nonlocal": ("def outer():\n    m = None\n    def inner():\n        nonlocal m\n        m = Net().eval()\n    inner()\n    m(x)\nouter()", [(7, "eval")]),
    "object of a class": (
        (
            "class Trainer:\n    def __init__(self, m):\n        self.m = m\n    def off(self):\n        self.m.eval()\n        return self\n"
            "    def run(self):\n        self.m(x)\nTrainer(net).off().run()"
        ),
        [(8, "eval")],
    ),
    "inherited method and super": (
        (
            "class Base:\n    def prepare(self):\n        net.eval()\nclass Other(Base):\n    def prepare(self):\n        super().prepare()\n"
            "Other().prepare()\nnet(x)"
        ),
        [(8, "eval")],
    ),
    "property": ("class Holder:\n    @property\n    def m(self):\n        return net\nHolder().m.eval()\nnet(x)", [(6, "eval")]),
    "static and class methods": (
        (
            "class Tools:\n    @staticmethod\n    def off(m):\n        m.eval()\n    @classmethod\n    def make(cls):\n        m = Net()\n        cls.off(m)\n"
            "        return m\nTools.make()(x)"
        ),
        [(10, "eval")],
    ),
    "generator function": ("def each():\n    yield net\nfor m in each():\n    m.eval()\nnet(x)", [(5, "eval")]),
    "setattr and getattr": ("class Box: pass\nbox = Box()\nsetattr(box, 'm', net)\ngetattr(box, 'm').eval()\nnet(x)", [(5, "eval")]),
    "recursion": ("def run(depth):\n    if depth:\n        run(depth - 1)\n    net.eval()\nrun(x)\nnet(x)", [(6, "eval")]),
    "main guard": ("if __name__ == '__main__':\n    net.eval()\n    net(x)", [(3, "eval")]),
    "sys.exit": ("import sys\nif x:\n    net.eval()\n    sys.exit(0)\nnet(x)", [(5, "train")]),
    "chained comparison": ("if 0 <= x <= 1:\n    net.eval()\nnet(x)", [(3, "eval"), (3, "train")]),
    "assertion": ("flag = x\nassert flag\nif flag:\n    net.eval()\nnet(x)", [(5, "eval")]),
    "async": ("async def run():\n    net.eval()\nasync def main():\n    await run()\n    net(x)\nimport asyncio\nasyncio.run(main())", [(5, "eval")]),
}  # fmt: skip


def _calls(code: str, folder: Path) -> list[tuple[int, str]]:
    path = folder / "script.py"
    path.write_text(code, encoding="utf-8")
    result = analyze(path, Project([folder]))
    assert (result.problems, result.notes) == ((), ())
    return sorted({(event.location.line - FIRST + 1, event.attributes["mode"]) for event in result.events if event.kind == "model_call"})


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_construct(name: str, tmp_path: Path) -> None:
    """The mode of every call is that which Python would find."""
    code, expected = PROGRAMS[name]
    assert _calls(HEAD + code + "\n", tmp_path) == expected


def test_other_files(tmp_path: Path) -> None:
    """Functions, classes and variables of other files of the project."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("from .net import Net as Network\n")
    (tmp_path / "models" / "net.py").write_text("from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        self.norm = nn.BatchNorm1d(4)\n")
    (tmp_path / "engine.py").write_text("SHARED = []\n\ndef evaluate(model, x):\n    model.eval()\n    return model(x)\n")
    code = "from models import Network\nimport engine as e\nm = Network()\nm.train()\ne.evaluate(m, load())\nm(load())\n"
    path = tmp_path / "main.py"
    path.write_text(code)
    result = analyze(path, Project([tmp_path]))
    found = [(Path(event.location.path).name, event.location.line, event.attributes["mode"]) for event in result.events if event.kind == "model_call"]
    assert found == [("engine.py", 5, "eval"), ("main.py", 6, "eval")]
    assert sorted(Path(name).name for name in result.dependencies) == ["__init__.py", "engine.py", "net.py"]


PATHOLOGICAL = {
    "many branches": "import torch\n" + "".join(f"if c{i}:\n    net.eval()\nelse:\n    net.train()\n" for i in range(400)),
    "deep nesting": "".join("    " * depth + f"if c{depth}:\n" for depth in range(90)) + "    " * 90 + "net.eval()\n",
    "mutual recursion": "def a(m):\n    m.eval()\n    b(m)\n    b(m)\ndef b(m):\n    a(m)\n    a(m)\na(net)\n",
    "calls doubling": "def f0(m):\n    m.eval()\n" + "".join(f"def f{i}(m):\n    f{i - 1}(m)\n    f{i - 1}(m)\n    f{i - 1}(m)\n" for i in range(1, 30)) + "f29(net)\n",
    "long function": "def run(net):\n    net.eval()\n" + "".join(f"    y{i} = net(x)\n" for i in range(10_000)),
    "long expression": "net.eval()\ny = " + " + ".join(["net(x)"] * 900) + "\n",
    "nested loops": "".join("    " * depth + f"for i{depth} in range(9):\n" for depth in range(15)) + "    " * 15 + "net.train(i3 > 2)\n",
    "big table": "net.eval()\nTABLE = {" + ", ".join(f"'k{i}': [net, {i}]" for i in range(5_000)) + "}\n",
    "long string arithmetic": "net.eval()\ns = 'a' * 10 ** 9 * 10 ** 9\nt = 9 ** 9 ** 9 ** 9\n",
    "self reference": "class A:\n    def __init__(self):\n        self.me = self\n        self.me.me.net = net\nA().me.me.me.net.eval()\n",
}


@pytest.mark.parametrize("name", list(PATHOLOGICAL))
def test_bounded(name: str, tmp_path: Path) -> None:
    """Whatever a file holds, its analysis ends soon; what was given up is said."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(HEAD) + PATHOLOGICAL[name])
    begin = time.process_time()
    result = analyze(path, Project([tmp_path]))
    assert time.process_time() - begin < 30
    assert result.problems == ()
    assert len(result.notes) <= 1
