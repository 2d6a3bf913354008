from __future__ import annotations

import pytest

from normadvisor.script.project.contents import contents_of_class

HEAD = "import torch, torch.nn as nn, torch.nn.functional as F\n"
BODY = """class N(nn.Module):
    def __init__(self, probabilities=True):
        super().__init__()
        self.fc = nn.Linear(1, 2)
        self.bn = nn.BatchNorm1d(2)
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn2 = nn.BatchNorm2d(2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.softmax = nn.Softmax(dim=1)
        self.seq = nn.Sequential(nn.Linear(1, 2), nn.Sigmoid(), nn.Dropout())
        self.inner = Inner()
        self.act = None
        self.layers = nn.ModuleList([nn.ReLU() for _ in range(len(self.names))])
        self.probabilities = probabilities
    def head(self, x):
        return F.log_softmax(x, 1)
    def forward(self, x):
"""
INNER = "class Inner(nn.Module):\n    def __init__(self):\n        super().__init__()\n    def forward(self, x):\n        return x.sigmoid()\n"


def ending(written, forward: str):
    lines = "".join(f"        {line}\n" for line in forward.splitlines())
    project, load = written({"a.py": HEAD + INNER + BODY + lines})
    return contents_of_class(project, project.lookup("N", load("a.py")))


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        ("return F.softmax(x, dim=1)", ("softmax", 24)),
        ("return torch.softmax(self.fc(x), 1)", ("softmax", 24)),
        ("return self.fc(x).softmax(-1)", ("softmax", 24)),
        ("return self.softmax(self.fc(x))", ("softmax", 15)),
        ("x = self.fc(x)\nx = torch.sigmoid(x)\nreturn x.squeeze(1)", ("sigmoid", 25)),
        ("return self.seq(x)", ("sigmoid", 16)),
        ("return nn.LogSoftmax(dim=1)(x)", ("log_softmax", 24)),
        ("return self.head(x)", ("log_softmax", 22)),
        ("return self.inner(x)", ("sigmoid", 6)),
        ("return F.logsigmoid(x)", ("log_sigmoid", 24)),
        ("return F.dropout(torch.tanh(x), training=self.training)", ("tanh", 24)),
        ("return self.fc(x)", (None, None)),
        ("return F.softmax(self.fc(x), 1) * 2", (None, None)),
        ("return self.fc(F.softmax(x, 1))", (None, None)),
        ("return x if self.training else F.softmax(x, 1)", (None, None)),
        ("if self.training:\n    return x\nreturn F.softmax(x, 1)", (None, None)),
        ("if not self.training:\n    x = F.softmax(x, 1)\nreturn x", (None, None)),
        ("if self.probabilities:\n    x = F.softmax(x, 1)\nreturn x", ("softmax", 25)),
        ("if self.act is not None:\n    x = self.act(x)\nreturn torch.sigmoid(x)", ("sigmoid", 26)),
        ("if x.sum() > 0:\n    return F.softmax(x, 1)\nreturn F.softmax(x, 0)", ("softmax", 25)),
        ("if x.sum() > 0:\n    return F.softmax(x, 1)\nreturn x", (None, None)),
        ("return torch.sigmoid(x), x", (None, None)),
        ("return torch.sigmoid(x), x.sigmoid()", ("sigmoid", 24)),
        ("return {'out': torch.sigmoid(x)}", (None, None)),
        ("p = torch.sigmoid(x)\nreturn x", (None, None)),
        ("for _ in range(2):\n    x = torch.relu(x)\nreturn x", ("relu", 25)),
        ("for _ in range(len(x)):\n    x = torch.relu(x)\nreturn x", (None, None)),
        ("for layer in [self.fc, self.softmax]:\n    x = layer(x)\nreturn x", ("softmax", 15)),
        ("for layer in self.layers:\n    x = layer(x)\nreturn x", (None, None)),
        ("return self.absent(x)", (None, None)),
        ("raise NotImplementedError", (None, None)),
    ],
)
def test_the_activation_of_every_output(written, forward, expected):
    found = ending(written, forward)
    assert (found.ends_with, found.ends_at.line if found.ends_at else None) == expected


def test_a_last_layer_that_may_be_left_out_is_no_ending(written):
    body = (
        "class N(nn.Module):\n    def __init__(self, last):\n        super().__init__()\n        layers = [nn.Linear(1, 2)]\n"
        "        if last:\n            layers.append(nn.Sigmoid())\n        self.net = nn.Sequential(*layers)\n"
        "    def forward(self, x):\n        return self.net(x)\n"
    )
    ends = []
    for number, text in enumerate((body, body.replace("last)", "last=True)"), body.replace("last)", "last=False)"))):
        project, load = written({f"a{number}.py": HEAD + text})
        ends.append(contents_of_class(project, project.lookup("N", load(f"a{number}.py"))).ends_with)
    assert ends == [None, "sigmoid", None]


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        ("return self.bn(self.fc(x))", "yes"),
        ("x = F.relu(self.fc(x))\nreturn self.bn(x)", "yes"),
        ("return self.bn2(self.pool(x))", "yes"),
        ("return self.bn(torch.flatten(x, 1))", "yes"),
        ("return self.bn2(self.conv(x))", "unknown"),
        ("return self.bn(x)", "unknown"),
    ],
)
def test_a_batchnorm_that_sees_one_value_per_sample(written, forward, expected):
    assert ending(written, forward).batchnorm_over_features == expected


def test_batchnorm_over_maps_only(written):
    text = HEAD + "class N(nn.Sequential):\n    def __init__(self):\n        super().__init__(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sigmoid())\n"
    project, load = written({"a.py": text})
    found = contents_of_class(project, project.lookup("N", load("a.py")))
    assert (found.batchnorm, found.batchnorm_over_features, found.ends_with) == ("yes", "no", "sigmoid")
