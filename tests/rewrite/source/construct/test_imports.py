"""Names of a library in the style of a file's imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from normadvisor.rewrite.source.imports import name_for
from normadvisor.rewrite.source.place import Refused, SourceFiles
from normadvisor.rewrite.text.apply import applied

USE = "\n\ndef build():\n    return HERE\n"


def named(folder: Path, text: str, dotted: str) -> tuple[str, str]:
    """The name, and the file with its imports."""
    # Names are looked up in what is imported.
    pytest.importorskip(dotted.rpartition(".")[0])
    path = folder / "model.py"
    path.write_text(text)
    tree = SourceFiles(folder).tree(str(path))
    at = next(node for node in ast.walk(tree.module.tree) if isinstance(node, ast.Name) and node.id == "HERE")
    name, edits = name_for(dotted, tree, at)
    return name, applied(path.read_bytes(), path, edits).decode()


@pytest.mark.parametrize(
    ("head", "dotted", "name", "after"),
    [
        ("import torch.nn as nn\n", "torch.nn.GroupNorm", "nn.GroupNorm", "import torch.nn as nn\n"),
        ("import torch\n", "torch.nn.GroupNorm", "torch.nn.GroupNorm", "import torch\n"),
        ("import torch\nfrom torch import nn\n", "torch.nn.GroupNorm", "nn.GroupNorm", "import torch\nfrom torch import nn\n"),
        ("from torch.nn import Conv2d, ReLU\n", "torch.nn.GroupNorm", "GroupNorm", "from torch.nn import Conv2d, GroupNorm, ReLU\n"),
        ("from torch.nn import ReLU, Conv2d\n", "torch.nn.GroupNorm", "GroupNorm", "from torch.nn import ReLU, Conv2d, GroupNorm\n"),
        ("from torch.nn import GroupNorm as GN\n", "torch.nn.GroupNorm", "GN", "from torch.nn import GroupNorm as GN\n"),
        ("from torch.nn.modules.normalization import GroupNorm\n", "torch.nn.GroupNorm", "GroupNorm", None),
        ("import torch.nn.functional as F\n", "torch.nn.functional.relu", "F.relu", None),
        ("import os\n", "torch.nn.functional.relu", "F.relu", "import os\nimport torch.nn.functional as F\n"),
        ("import os\n\nnn = 1\n", "torch.nn.GELU", "GELU", "import os\nfrom torch.nn import GELU\n\nnn = 1\n"),
        ("import os; import re  # both\n", "torch.nn.GELU", "nn.GELU", "import os; import re  # both\nfrom torch import nn\n"),
        ('"""A model."""\n', "functools.partial", "partial", '"""A model."""\n\nfrom functools import partial\n'),
        ("from __future__ import annotations\n", "functools.partial", "partial", "from __future__ import annotations\nfrom functools import partial\n"),
        ("#!/usr/bin/python\n# words\nx = 1\n", "torch.nn.GELU", "nn.GELU", "#!/usr/bin/python\n# words\nfrom torch import nn\nx = 1\n"),
        ("if False:\n    import torch.nn as nn\n", "torch.nn.GELU", "GELU", "from torch.nn import GELU\nif False:\n    import torch.nn as nn\n"),
        ("try:\n    import torch.nn as nn\nexcept ImportError:\n    raise\n", "torch.nn.GELU", "nn.GELU", None),
        ("import torchvision\n", "torchvision.ops.FrozenBatchNorm2d", "torchvision.ops.FrozenBatchNorm2d", None),
    ],
)
def test_named(head: str, dotted: str, name: str, after: str | None, tmp_path: Path) -> None:
    assert named(tmp_path, head + USE, dotted) == (name, (head if after is None else after) + USE)


def test_a_name_that_means_something_else_is_not_used(tmp_path: Path) -> None:
    text = "import torch.nn as nn\n\n\ndef build(nn):\n    return HERE\n"
    assert named(tmp_path, text, "torch.nn.GELU") == ("GELU", text.replace("as nn\n", "as nn\nfrom torch.nn import GELU\n"))


def test_no_name_is_left(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"gives other meanings to every name that torch\.nn\.GELU could be imported as"):
        named(tmp_path, "nn = GELU = torch = None\n" + USE, "torch.nn.GELU")
