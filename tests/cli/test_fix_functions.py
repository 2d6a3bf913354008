"""``fix --select NA704,NA705``: functions of torch in the place of what is written out, shown, proven and written."""

from __future__ import annotations

import json

import pytest

MODEL = '''import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        """Over the features."""
        variance = x.pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + self.eps)
        return self.weight * x


class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.transpose(-2, -1) / k.size(-1) ** 0.5
        weights = self.drop(scores.softmax(dim=-1))
        return weights @ v


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(RMSNorm(8) for _ in range(2))
        self.attention = Attention(8)
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = x + self.attention(self.norms[0](x))
        x = self.fc(self.norms[1](x))
        return x * torch.sigmoid(x)
'''
CHANGED = (
    MODEL.replace(
        """        variance = x.pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + self.eps)
        return self.weight * x
""",
        "        return nn.functional.rms_norm(x, self.weight.shape, weight=self.weight, eps=self.eps)\n",
    )
    .replace(
        """        scores = q @ k.transpose(-2, -1) / k.size(-1) ** 0.5
        weights = self.drop(scores.softmax(dim=-1))
        return weights @ v
""",
        "        return nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=self.drop.p if self.drop.training else 0.0)\n",
    )
    .replace("        return x * torch.sigmoid(x)\n", "        return nn.functional.silu(x)\n")
)
FLAGS = ("net.py:Net", "--input", "2x5x8", "--select", "NA704,NA705")


@pytest.fixture
def write(tmp_path):
    return lambda name, text: (tmp_path / name).write_text(text)


def test_it_is_shown_and_nothing_is_written(cli, write, tmp_path):
    write("net.py", MODEL)
    result = cli("fix", *FLAGS, "--diff")
    assert result.code == 1
    assert "-        return x * torch.sigmoid(x)\n+        return nn.functional.silu(x)\n" in result.out
    assert "Would fix 2 findings in 1 file (2 safe).\n1 more finding can be fixed with --unsafe-fixes\n" in result.err
    assert (tmp_path / "net.py").read_text() == MODEL


def test_it_is_proven_and_written_and_then_there_is_nothing_left(cli, write, tmp_path):
    write("net.py", MODEL)
    result = cli("fix", *FLAGS, "--unsafe-fixes")
    assert (tmp_path / "net.py").read_text() == CHANGED
    assert "proven: outputs, gradients and buffers equal in float64, train and eval" in result.err
    assert "state_dict" not in result.err
    after = cli("check", *FLAGS, "--format", "json")
    assert (after.code, json.loads(after.out)["findings"]) == (0, [])


def test_what_holds_for_equal_dtypes_alone_is_unsafe_and_proven(cli, write, tmp_path):
    """A norm that is told its weight gives the dtype of the input, what was written out the wider one of both."""
    write("net.py", MODEL)
    only = (*FLAGS[:3], "--select", "NA704")
    (finding,) = json.loads(cli("check", *only, "--format", "json").out)["findings"]
    assert finding["fix"]["applicability"] == "unsafe"
    assert "Unsafe: where the input and the weight have two dtypes" in finding["fix"]["description"]
    assert cli("fix", *only).err == "Nothing was fixed.\n1 more finding can be fixed with --unsafe-fixes\n"
    assert (tmp_path / "net.py").read_text() == MODEL
    result = cli("fix", *only, "--unsafe-fixes")
    assert "F.rms_norm" in (tmp_path / "net.py").read_text().replace("nn.functional.", "F.")
    assert "Fixed 1 finding in 1 file (1 unsafe)." in result.err
    assert "proven: outputs, gradients and buffers equal in float64, train and eval" in result.err


def test_they_are_off_by_default(cli, write):
    write("net.py", MODEL)
    result = cli("check", *FLAGS[:3], "--format", "json")
    assert [finding["rule"] for finding in json.loads(result.out)["findings"] if finding["rule"].startswith("NA7")] == []


def test_what_cannot_be_edited_is_told(cli, write):
    write("net.py", MODEL.replace("        return weights @ v\n", "        self.seen = weights\n        return weights @ v\n"))
    result = cli("fix", *FLAGS, "--diff")
    assert "Would fix 1 finding in 1 file (1 safe)." in result.err
    assert "not fixed: net.py:29:16 NA705: `weights` is also read at net.py:28\n" in result.err


def test_a_live_model_is_sent_to_optimize():
    import torch
    from torch import nn

    import normadvisor

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            x = self.fc(x)
            return x * torch.sigmoid(x)

    model = Gated()
    result = normadvisor.fix(model, (torch.randn(2, 8),), select=["NA705"])
    words = "torch.nn.functional.silu takes the place of code in the model's forward, which is changed in its source"
    assert words in str(result)
