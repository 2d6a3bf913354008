"""Parameters that a model uses and does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve()


class Net(nn.Module):
    """Layers, and others in ``extra``."""

    def __init__(self, extra) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.extra = extra  # set here

    def forward(self, x):
        x = self.first(x)
        for each in self.extra.values() if isinstance(self.extra, dict) else self.extra:
            x = each(x) if isinstance(each, nn.Module) else x * each
        return self.last(x)


class Teacher(Net):
    """Layers whose result takes part without gradients."""

    def forward(self, x):
        with torch.no_grad():
            told = sum(each(x) for each in self.extra)
        return self.last(self.first(x)) + told


def layers(count=2, inputs=8, outputs=8):
    torch.manual_seed(0)
    return [nn.Linear(inputs, outputs) for _ in range(count)]


def line() -> str:
    number = next(number for number, text in enumerate(HERE.read_text().splitlines(), 1) if text.endswith("# set here"))
    return f"{HERE}:{number}"


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        (layers(), ["extra[0]", "extra[1]"]),
        (tuple(layers()), ["extra[0]", "extra[1]"]),
        (dict(zip("ab", layers(), strict=True)), ["extra['a']", "extra['b']"]),
        ([nn.Sequential(nn.ReLU()), *layers(1)], ["extra[1]"]),
        ([torch.ones(8, requires_grad=True), torch.ones(8)], ["extra[0]"]),
        (torch.ones(2, 8, requires_grad=True), ["extra"]),
    ],
)
def test_parameters_in_containers_are_named(probe, extra, names):
    model = Net(extra)
    measured = probe(model, (4, 6))
    assert (measured.facts["unregistered"], measured.facts["unregistered_line"]) == (names, line())
    assert measured.facts["restored"] is True


def frozen():
    return [layer.requires_grad_(False) for layer in layers()]


@pytest.mark.parametrize(
    "model",
    [
        lambda: Net(nn.ModuleList(layers())),
        lambda: Net(nn.ParameterList([torch.ones(8)])),
        lambda: Net(frozen()),
        lambda: Net([layer.eval() for layer in layers()]),
        lambda: Net(layers(1)),
        lambda: Teacher(layers(2, 6, 3)),
        lambda: Net([nn.ReLU(), nn.Tanh()]),
    ],
    ids=["module list", "parameter list", "frozen", "eval mode", "alone", "teacher", "without parameters"],
)
def test_what_is_registered_or_hidden_on_purpose_is_not(probe, model):
    measured = probe(model(), (4, 6))
    assert "unregistered" not in {**measured.facts, **measured.missing}
    assert measured.facts["restored"] is True


def test_a_list_of_registered_layers_is_none(probe):
    held = layers()
    model = Net(held)
    model.held = nn.ModuleList(held)
    assert "unregistered" not in probe(model, (4, 6)).facts


def test_what_the_optimizer_trains_is_none(probe):
    model = Net(layers())
    own = [parameter for layer in model.extra for parameter in layer.parameters()]
    optimizer = torch.optim.SGD([*model.parameters(), *own], 0.1)
    batches = [(torch.randn(4, 6), torch.randint(0, 3, (4,))) for _ in range(2)]
    measured = probe(model, batches=batches, loss_fn=F.cross_entropy, optimizer=optimizer)
    assert "unregistered" not in measured.facts
    assert measured.facts["restored"] is True


def test_hidden_layers_are_left_as_they_were(probe):
    model = Net(layers())
    before = [parameter.detach().clone() for layer in model.extra for parameter in layer.parameters()]
    probe(model, (4, 6))
    after = [parameter for layer in model.extra for parameter in layer.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert [parameter.grad for parameter in after] == [None] * 4
