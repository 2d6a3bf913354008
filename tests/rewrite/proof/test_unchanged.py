"""Models that an edit did not reach are told by their looks."""

from __future__ import annotations

import pytest
import torch

from normadvisor.graph import trace
from normadvisor.rewrite.proof import unchanged
from normadvisor.targets.inputs import Inputs

ROWS = Inputs((torch.zeros(2, 3),))
SOURCE = """
import torch
from torch import nn

SLOPE = 0.5

def bend(x):
    return x.clamp(min=-SLOPE)

class Gain(nn.Module):
    def __init__(self, gain=2.0):
        super().__init__()
        self.gain = gain
        self.register_buffer("offset", torch.tensor([0.25]))

    def forward(self, x):
        if self.training:
            return x * self.gain + self.offset
        return x + self.offset

class Net(nn.Module):
    def __init__(self, norm=False):
        super().__init__()
        self.fc = nn.Linear(3, 4, bias=True)
        self.gain = Gain()
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return bend(self.drop(self.gain(self.fc(x))))
"""


def _alike(old: str, new: str, *, evaluating: bool = False) -> bool:
    assert old in SOURCE
    models = []
    for text in (SOURCE, SOURCE.replace(old, new)):
        names: dict[str, type[torch.nn.Module]] = {"__name__": "net"}  # type: ignore[dict-item]
        exec(text, names)
        models.append(names["Net"]().train(not evaluating))
    first, second = (trace(model, ROWS, target="net", sites={}) for model in models)
    return unchanged(models[0], models[1], (first, second))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import torch\n", "import torch\n\n# a comment\n"),
        ("bias=True", "bias=not norm"),
        ("gain=2.0", "gain=1.0 + 1.0"),
        ("return x + self.offset", "return x + self.offset  # elsewhere"),
    ],
)
def test_what_comes_out_the_same_is_unchanged(old: str, new: str) -> None:
    assert _alike(old, new)


@pytest.mark.parametrize("evaluating", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SLOPE = 0.5", "SLOPE = 0.25"),
        ("min=-SLOPE", "max=SLOPE"),
        ("gain=2.0", "gain=3.0"),
        ("[0.25]", "[0.5]"),
        ("return x + self.offset", "return x - self.offset"),
        ("return x * self.gain + self.offset", "return x * self.gain"),
        ("bias=True", "bias=False"),
        ("Linear(3, 4", "Linear(3, 5"),
        ("Dropout(0.1)", "Dropout(0.2)"),
        ("self.drop = nn.Dropout(0.1)", "self.drop = nn.Identity()"),
        ("bend(self.drop(self.gain(self.fc(x))))", "bend(self.gain(self.drop(self.fc(x))))"),
    ],
)
def test_what_differs_is_not(old: str, new: str, evaluating: bool) -> None:
    assert not _alike(old, new, evaluating=evaluating)
