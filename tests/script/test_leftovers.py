"""Imports that go with what they were for, and those that stay."""

from __future__ import annotations

import pytest

from normadvisor.script.anchors import applied, removed
from normadvisor.script.leftovers import unused_imports
from normadvisor.script.project.modules import Project

CASES = {
    "a line": ("import os\nimport torch.nn.functional as F\n\ny = F.relu(x)\n", "import os\n\n"),
    "the first of several": ("from torch import (\n    relu,\n    nn,\n)\ny = relu(x)\n", "from torch import (\n    nn,\n)\n"),
    "the last of several": ("from torch import nn, relu\ny = relu(x)\n", "from torch import nn\n"),
    "named in a comment": ("from torch import relu  # relu\n# uses relu\ny = relu(x)\n", "from torch import relu  # relu\n# uses relu\n"),
    "used elsewhere": ("from torch import relu\nz = relu\ny = relu(x)\n", "from torch import relu\nz = relu\n"),
    "never used": ("import os\ny = 1\n", "import os\n"),
    "offered to others": ('from torch import relu\n__all__ = ["z"]\ny = relu(x)\n', 'from torch import relu\n__all__ = ["z"]\n'),
}


def _cleaned(path):
    module = Project([path.parent]).load(path)
    first = removed(module, module.tree.body[-1])
    return applied(module.text, (first, *unused_imports(module, [first])))


@pytest.mark.parametrize("case", CASES)
def test_imports_go_with_their_last_use(case, tmp_path):
    source, expected = CASES[case]
    path = tmp_path / "script.py"
    path.write_text(source + ("" if source.endswith("\n") else "\n"))
    assert _cleaned(path) == expected


@pytest.mark.parametrize("text", ["from script import *\n", "from .script import relu, y\n"])
def test_imports_stay_that_another_file_takes(text, tmp_path):
    path = tmp_path / "script.py"
    path.write_text("from torch import relu\ny = relu(x)\n")
    (tmp_path / "other.py").write_text(text)
    assert _cleaned(path) == "from torch import relu\n"
