"""Activations written out are told by what they compute, however they are spelled."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from normadvisor.graph.written import written_in

ROOT = math.sqrt(2 / math.pi)
SPELLINGS: dict[str, tuple[Callable[[Tensor], Tensor], str, dict[str, object], int]] = {
    "silu": (lambda x: x * torch.sigmoid(x), "silu", {}, 2),
    "silu, method": (lambda x: x.mul(x.sigmoid()), "silu", {}, 2),
    "silu, quotient": (lambda x: x / (1 + torch.exp(-x)), "silu", {}, 4),
    "gelu": (lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), "gelu", {}, 5),
    "gelu, tanh": (lambda x: 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.044715 * x**3))), "gelu", {"approximate": "tanh"}, 8),
    "gelu, sigmoid": (lambda x: x * torch.sigmoid(2 * ROOT * (x + 0.044715 * x * x * x)), "gelu", {"approximate": "tanh"}, 7),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), "mish", {}, 3),
    "softplus": (lambda x: torch.log(1 + x.exp()), "softplus", {}, 3),
    "softplus, log1p": (lambda x: torch.log1p(torch.exp(x)), "softplus", {}, 2),
    "log_sigmoid": (lambda x: torch.log(torch.sigmoid(x)), "log_sigmoid", {}, 2),
    "hardsigmoid": (lambda x: F.relu6(x + 3) / 6, "hardsigmoid", {}, 3),
    "hardswish": (lambda x: x * torch.clamp(x + 3, 0, 6) / 6, "hardswish", {}, 4),
    "sigmoid": (lambda x: 1 / (1 + torch.exp(-x)), "sigmoid", {}, 4),
    "tanh": (lambda x: 2 * torch.sigmoid(2 * x) - 1, "tanh", {}, 4),
    "relu": (lambda x: (x + x.abs()) / 2, "relu", {}, 3),
    "leaky_relu": (lambda x: torch.where(x > 0, x, 0.2 * x), "leaky_relu", {"negative_slope": 0.2}, 3),
    "leaky_relu, usual": (lambda x: torch.maximum(x, 0.01 * x), "leaky_relu", {}, 2),
    "elu": (lambda x: torch.where(x > 0, x, 0.5 * (torch.exp(x) - 1)), "elu", {"alpha": 0.5}, 5),
}  # fmt: skip


class Net(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.gate, self.sharp = nn.Sigmoid(), nn.PReLU()
        self.function = function

    def forward(self, x):
        return self.function(self.fc(x))


def found_in(function: Callable[[Tensor], Tensor]) -> list[tuple[str, str, str, dict[str, object], int]]:
    """What is found, with the name of its operand."""
    model = Net(function)
    graph = fx.Tracer().trace(model)
    return [
        (item.op, item.function.rpartition(".")[2], item.inputs["input"].name, dict(item.arguments), item.operations)
        for item in written_in(graph, model)
    ]  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_an_activation_is_told_by_its_values(name):
    function, op, arguments, operations = SPELLINGS[name]
    spelled = {"log_sigmoid": "logsigmoid"}.get(op, op)
    assert found_in(function) == [(op, spelled, "fc", arguments, operations)]
    # What is found computes the same.
    x = torch.randn(64, dtype=torch.float64) * 4
    torch.testing.assert_close(getattr(F, spelled)(x, **arguments), function(x), rtol=1e-6, atol=1e-6)


def gated(x, gate):
    return x * gate, gate


OTHERS: dict[str, Callable[[Tensor], object]] = {
    "a function of torch": F.silu,
    "one operation alone": lambda x: torch.clamp(x, min=0),
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "a constant of five digits": lambda x: 0.5 * x * (1 + torch.tanh(0.79788 * (x + 0.044715 * x**3))),
    "a line": lambda x: (2 * x + 1) * 3,
    "a result that is read": lambda x: gated(x, torch.sigmoid(x)),
    "a gate of another tensor": lambda x: x * torch.sigmoid(x + x.flip(0)),
    "in place": lambda x: x.mul_(torch.sigmoid(x)),
    "the function twice": lambda x: F.relu(F.relu(x)),
    "a clamp that never bounds": lambda x: torch.clamp(F.softplus(x), min=0.0),
    "a step": lambda x: torch.where(x > 0, 1.0, 0.0),
    "powers": lambda x: x**2 * torch.sigmoid(x),
    "zeros in place of what is no number": lambda x: torch.where(x > 0, x, 0.0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_expressions_are_none(name):
    assert found_in(OTHERS[name]) == []


def test_layers_are_operations_and_what_they_learn_is_not():
    class Layers(Net):
        def forward(self, x):
            x = self.fc(x)
            x = x * self.gate(x)
            x = self.fc(x)
            return x * self.sharp(x)

    model = Layers(F.relu)
    assert [(item.op, item.root.name) for item in written_in(fx.Tracer().trace(model), model)] == [("silu", "mul")]


def test_the_largest_expression_is_found():
    """Softplus inside of Mish, and SiLU of a sum that is read once more."""

    def function(x):
        h = x * torch.tanh(torch.log(1 + torch.exp(x)))
        y = h + 1
        return y * torch.sigmoid(y)

    assert [found[:3] for found in found_in(function)] == [("mish", "mish", "fc"), ("silu", "silu", "add_1")]


def test_what_is_bounded_far_away_belongs_to_the_operand():
    """Softplus of a number that is bounded at 20 is no softplus of the number itself."""
    model = Net(lambda x: torch.log(1 + torch.exp(x.clamp(max=20))))
    (found,) = written_in(fx.Tracer().trace(model), model)
    assert (found.op, found.inputs["input"].name) == ("softplus", "clamp")
    assert [item[:4:3] for item in found_in(lambda x: x * torch.tanh(torch.log(1 + torch.exp(x.clamp(max=20)))))] == [("mish", {})]


def test_a_shape_that_changes_is_no_activation():
    class Wide(Net):
        def forward(self, x):
            x = self.fc(x)
            return torch.where(x > 0, x, 0.1 * x)

    model = Wide(F.relu)
    graph = fx.Tracer().trace(model)
    for node in graph.nodes:
        node.meta["shape"] = (2, 4) if node.name == "fc" else (3, 2, 4)
    assert written_in(graph, model) == []


@given(st.integers(0, 2**31), st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_any_expression_is_looked_through(seed, length):
    """Expressions made at random are followed without an error, and what is found computes the same."""
    generator = torch.Generator().manual_seed(seed)

    def pick(items):
        return items[int(torch.randint(len(items), (), generator=generator))]

    steps = [
        (pick(["sigmoid", "tanh", "exp", "mul", "add", "relu", "square", "where", "div"]), pick([0, 1, 2]), pick([0.5, 1.0, -1.0, 3.0]))
        for _ in range(length)
    ]  # fmt: skip

    def function(x):
        held = [x]
        for name, back, number in steps:
            other = held[max(-len(held), -1 - back)]
            last = held[-1]
            if name in {"mul", "add", "div"}:
                made = getattr(torch, name)(last, other if number == 1.0 else number)
            elif name == "where":
                made = torch.where(last > 0, other, number * last)
            else:
                made = getattr(torch, name)(last)
            held.append(made)
        return held[-1]

    model = Net(function)
    graph = fx.Tracer().trace(model)
    for item in written_in(graph, model):
        x = torch.linspace(-3, 3, 31, dtype=torch.float64)
        values = {item.inputs["input"]: x}
        for node in item.nodes:
            values[node] = node.target(*fx.node.map_arg(node.args, values.__getitem__), **node.kwargs)
        reference = getattr(F, item.function.rpartition(".")[2], None) or getattr(torch, item.function.rpartition(".")[2])
        torch.testing.assert_close(reference(x, **item.arguments), values[item.root], rtol=1e-5, atol=1e-5)
