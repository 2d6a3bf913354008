from __future__ import annotations

import pytest


def described(info):
    """What a class is, as plain data."""
    return (
        [parent.name for parent in info.mro()],
        sorted(info.externals),
        info.is_module,
        info.framework,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import torch.nn as nn\nclass N(nn.Module): pass", (["N"], ["torch.nn.Module"], True, None)),
        ("from torch.nn import Module\nclass A(Module): pass\nclass N(A): pass", (["N", "A"], ["torch.nn.Module"], True, None)),
        ("class N: pass", (["N"], [], False, None)),
        ("class N(dict): pass", (["N"], ["dict"], False, None)),
        ("from abc import ABC\nclass N(ABC): pass", (["N"], ["abc.ABC"], False, None)),
        ("from elsewhere import Base\nclass N(Base): pass", (["N"], ["elsewhere.Base"], None, None)),
        ("class N(make()): pass", (["N"], ["?make()"], None, None)),
        ("class N(absent): pass", (["N"], ["?absent"], None, None)),
        (
            "import pytorch_lightning as pl\nclass N(pl.LightningModule): pass",
            (["N"], ["pytorch_lightning.LightningModule"], True, "lightning"),
        ),
        ("from transformers import Trainer\nclass N(Trainer): pass", (["N"], ["transformers.Trainer"], False, "transformers")),
        ("from typing import Generic, T\nclass N(Generic[T]): pass", (["N"], ["typing.Generic"], False, None)),
        ("class A: pass\nclass B(A): pass\nclass C(A): pass\nclass N(B, C): pass", (["N", "B", "C", "A"], [], False, None)),
        ("class N(N): pass", (["N"], [], False, None)),
        ("class A(N): pass\nclass N(A): pass", (["N", "A"], [], False, None)),
    ],
)
def test_what_a_class_is(written, text, expected):
    project, load = written({"a.py": text})
    assert described(project.lookup("N", load("a.py"))) == expected


def test_a_class_may_have_the_name_of_its_imported_base(written):
    project, load = written({"a.py": "from torch.nn import Linear\nclass Linear(Linear): pass"})
    assert described(project.lookup("Linear", load("a.py"))) == (["Linear"], ["torch.nn.Linear"], True, None)


def test_methods_come_from_the_nearest_class(written):
    project, load = written(
        {"a.py": "class A:\n    def f(self): pass\n    def g(self): pass\nclass N(A):\n    if True:\n        def g(self): pass\n"}
    )
    info = project.lookup("N", load("a.py"))
    assert [(found[0].name, found[1].lineno) if (found := info.method(name)) else None for name in "fgh"] == [("A", 2), ("N", 6), None]


def test_the_same_class_is_the_same_object(written):
    project, load = written({"a.py": "class N: pass", "b.py": "from a import N"})
    assert project.lookup("N", load("b.py")) is project.lookup("N", load("a.py"))
    assert str(project.lookup("N", load("a.py")).location).endswith("a.py:1:1")
