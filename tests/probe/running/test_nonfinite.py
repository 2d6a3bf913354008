"""Where the first value that is not finite comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

HERE = Path(__file__).resolve()


def line_of(text: str) -> str:
    """``path:line`` of the line of this file that ends with a comment."""
    number = next(number for number, line in enumerate(HERE.read_text().splitlines(), 1) if line.endswith(f"# {text}"))
    return f"{HERE}:{number}"


class Between(nn.Module):
    """A function between two layers."""

    def __init__(self, function) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.function = function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def overflow(x):
    return torch.exp(x + 200.0)  # exp


def logarithm(x):
    return torch.log(x.relu())  # log


def division(x):
    return x / (x - x)  # division


def in_place(x):
    return x.clone().mul_(1e38).mul_(1e38)  # in place


def pairs(x):
    apart = x.unsqueeze(2) - x.unsqueeze(1)
    return torch.sqrt(apart.square()).sum(-1)  # sqrt


def masked(x):
    scores = x.masked_fill(torch.ones(8, dtype=torch.bool), float("-inf"))
    return scores.softmax(-1)  # all masked


@pytest.mark.parametrize(
    ("function", "op", "line", "layer"),
    [
        (overflow, "exp", "exp", "last"), (logarithm, "log", "log", "last"), (division, "div", "division", "last"),
        (in_place, "mul", "in place", "last"), (masked, "softmax", "all masked", "last"),
    ],
)  # fmt: skip
def test_the_function_that_makes_it_is_named(probe, function, op, line, layer):
    torch.manual_seed(0)
    facts = probe(Between(function), (4, 6)).facts
    found = [facts[f"nonfinite_{key}"] for key in ("step", "op", "line", "layer")]
    assert found == [0, op, line_of(line), layer]
    assert facts["restored"] is True


def test_a_derivative_that_is_not_finite_is_named(probe):
    torch.manual_seed(0)
    measured = probe(Between(pairs), (4, 6))
    assert [measured.facts[f"nonfinite_{key}"] for key in ("step", "op", "line")] == [0, "sqrt", line_of("sqrt")]
    assert measured.missing["nonfinite_layer"] == "the outputs of all layers were finite in that step: the loss or a gradient was not"
    assert measured.facts["restored"] is True


def test_a_layer_of_torch_has_no_line_of_its_own(probe):
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    nn.init.constant_(model[0].weight, 3e38)
    measured = probe(model, (4, 6))
    assert [measured.facts[f"nonfinite_{key}"] for key in ("step", "op", "layer")] == [0, "linear", "0"]
    assert measured.missing["nonfinite_line"] == "no code of the model's own calls that function"


def test_finite_steps_have_no_cause(probe):
    measured = probe(Between(torch.tanh), (4, 6))
    assert not [key for key in {**measured.facts, **measured.missing} if key.startswith("nonfinite")]
