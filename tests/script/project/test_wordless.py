"""Classes whose file names no layer that depends on the mode."""

from __future__ import annotations

import pytest

from normadvisor.script.project.contents import contents_of_class
from normadvisor.script.project.modules import Project

TABLE = """\
import torch
from torch import nn

def maker(kind):
    return {"a": nn.Conv2d, "b": nn.ConvTranspose2d}[kind]

class Net(nn.Module):
    def __init__(self, kinds, depth=3):
        super().__init__()
        self.first = kinds[0](3, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.first(x))
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(TABLE, "no", id="no word of it"),
        pytest.param(TABLE.replace("nn.ReLU()", "nn.LayerNorm(3)"), "no", id="another norm"),
        pytest.param(TABLE.replace('"b": nn.ConvTranspose2d', '"b": nn.BatchNorm2d'), "unknown", id="a table holds it"),
        pytest.param(TABLE.replace("kinds, depth=3", "kinds, norm_layer"), "unknown", id="a layer is given"),
        pytest.param("from other import unknown\n" + TABLE, "unknown", id="parts from code out of reach"),
        pytest.param("from other import *\n" + TABLE, "unknown", id="anything from code out of reach"),
        pytest.param(TABLE.replace("kinds[0](3", "getattr(nn, kinds[0])(3"), "unknown", id="a computed class"),
    ],
)
def test_wordless(source, expected, tmp_path):
    (tmp_path / "net.py").write_text(source)
    project = Project([tmp_path])
    module = project.load(tmp_path / "net.py")
    found = contents_of_class(project, project.class_info(module, module.definitions["Net"], "Net"))
    assert found.batchnorm == expected
