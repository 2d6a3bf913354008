"""The loss that a file computes of a model it is given."""

from __future__ import annotations

import pytest

from normadvisor.api.file_loss import loss_of_file

CASES = {
    "a function of any model": ("def step(model, x, y):\n    return F.cross_entropy(model(x), y)\n", "cross_entropy"),
    "by way of a name": ("def step(net, x, y):\n    out = net(x)\n    loss = torch.nn.functional.mse_loss(out, y)\n    return loss\n", "mse"),
    "an object": ("criterion = nn.BCEWithLogitsLoss()\ndef step(model, x, y):\n    return criterion(model(x), y)\n", "bce_with_logits"),
    "an object that is made there": ("def step(model, x, y):\n    return nn.NLLLoss()(model(x), y)\n", "nll"),
    "two losses": ("def step(model, x, y):\n    return F.cross_entropy(model(x), y) + F.mse_loss(model(x), y)\n", None),
    "one that takes something else": ("def step(model, x, y):\n    return F.cross_entropy(model(x).view(-1, 9), y)\n", None),
    "one that takes two things": (
        "def step(model, x, y):\n    F.mse_loss(x, y)\n    return F.mse_loss(model(x), y)\n", None
    ),
    "a name of two meanings": ("def step(model, x, y):\n    x = model(x)\n    x = x[0]\n    return F.mse_loss(x, y)\n", None),
    "no model": ("def loss(output, y):\n    return F.cross_entropy(output, y)\n", None),
    "a method": ("class Net(nn.Module):\n    def step(self, model, x, y):\n        return F.cross_entropy(model(x), y)\n", None),
    "a loss of more than two arguments": ("def step(model, x, y):\n    return F.gaussian_nll_loss(model(x), y, x)\n", None),
    "a loss without a name here": ("def step(model, x, y):\n    return F.kl_div(model(x), y)\n", None),
    "no Python": ("def step(model\n", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_loss_of_file(tmp_path, name):
    text, expected = CASES[name]
    path = tmp_path / "net.py"
    path.write_text(text)
    assert loss_of_file(path) == expected


def test_what_cannot_be_read(tmp_path):
    assert loss_of_file(tmp_path / "missing.py") is None
    (tmp_path / "latin.py").write_bytes(b"# \xe9\xff\n")
    assert loss_of_file(tmp_path / "latin.py") is None
