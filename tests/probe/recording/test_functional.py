from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F


class _Functions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.four = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        with torch.no_grad():
            self.one.bias.copy_(torch.tensor([-1e3, -1e3, 9.0, 9.0]))
            self.two.weight.fill_(0.1)
            self.two.bias.copy_(torch.tensor([-1e3, 0.0, 0.0, 0.0]))
            self.three.bias.copy_(torch.tensor([1e3, -1e3, 0.0, 1e3]))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        first = F.relu(self.one(values), inplace=True)
        second = self.two(first).relu_()
        third = torch.tanh(self.three(second * 0.01))
        return torch.relu(self.four(third * 0.01) + third)


def test_functions_count_with_the_layer_in_front(record):
    recorded = record(_Functions(), lambda model: model(torch.randn(6, 3) * 0.1).sum())
    found = {name: (layer.facts.get("activation"), layer.series.get("dead_share")) for name, layer in recorded.layers.items()}
    assert found == {
        "one": ("relu", (0.5,)),
        "two": ("relu", (0.25,)),
        "three": ("tanh", (0.75,)),
        "four": (None, None),
        "relu": (None, (0.25,)),
    }
    assert recorded["three"].series["saturated_share"] == (0.75,)
    own = recorded["relu"]
    assert (own.cls, own.op, own.units, own.parameters, own.calls, own.order) == ("relu", "relu", 4, 0, 1, 4)
    assert "act_grad_norm" in own.series
    # The layer's own numbers are those of its output, before the function.
    assert recorded.all("act_abs_max")["one"] > 900


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.Identity()
        self.fc = nn.Linear(4, 4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return F.relu(values + self.fc(values))


def test_a_sum_is_named_after_the_module_that_calls_the_function(record):
    model = nn.Sequential(_Block(), nn.Sequential(_Block()))
    recorded = record(model, lambda model: model(torch.randn(6, 4)).sum())
    assert list(recorded.layers) == ["0.fc", "0.relu()", "1.0.fc", "1.0.relu()"]


class _Gate(nn.Module):
    """Squeeze and excite, and GELU by hand: functions that are parts of something else."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.act = nn.SiLU()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found = self.act(self.fc(values))
        gelu = 0.5 * found * (1 + torch.tanh(0.8 * (found + 0.04 * found**3)))
        return gelu * torch.sigmoid(found.mean(-1, keepdim=True) * 100)


def test_parts_of_gates_are_no_activations(record):
    recorded = record(_Gate(), lambda model: model(torch.randn(6, 4)).sum())
    assert {name: sorted(layer.facts) for name, layer in recorded.layers.items()} == {
        "fc": ["alike_share", "bias_grad_ratio", "frozen", "no_gradient"],
        "act": [],
    }


@pytest.mark.parametrize("act", [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU()])
def test_modules_that_call_functions_are_seen_once(record, act: nn.Module):
    recorded = record(nn.Sequential(nn.Linear(3, 3), act), lambda model: model(torch.randn(6, 3)).sum())
    assert ("activation" in recorded["0"].facts, list(recorded.layers)) == (False, ["0", "1"])


def test_a_function_in_every_step(record):
    recorded = record(_Functions(), lambda model: model(torch.randn(6, 3)).sum(), steps=3)
    assert [len(layer.series["act_mean"]) for layer in recorded.layers.values()] == [3] * 5
