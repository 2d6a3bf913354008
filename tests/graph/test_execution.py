from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from normadvisor.errors import TraceError
from normadvisor.types import TraceKind


class Wrapped(nn.Module):
    """A linear layer around which ``function`` is called."""

    def __init__(self, function):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.function = function

    def forward(self, x):
        return self.function(self.linear(x))


def through(follow, function, x=None):
    return follow(Wrapped(function), torch.zeros(2, 4) if x is None else x, tracer=TraceKind.EXECUTION)


def edges(graph):
    return [(node.op, node.inputs) for node in graph.nodes if node.op not in {"param", "constant"}]


def test_in_place_operations_move_the_value_along(follow):
    def function(x):
        x.relu_()
        x += 1
        x.mul_(2)
        return x

    assert edges(through(follow, function)) == [("input", ()), ("linear", (0,)), ("relu", (1,)), ("add", (2,)), ("mul", (3,)), ("output", (4,))]


def test_assignment_into_a_slice_feeds_the_whole(follow):
    def function(x):
        out = torch.zeros(2, 4)
        out[:, :2] = torch.relu(x)[:, :2]
        return out

    graph = through(follow, function)
    assert [(node.op, node.inputs) for node in graph.nodes][2:] == [("relu", (1,)), ("index", (2,)), ("constant", ()), ("index", (3,)), ("output", (5,))]


def test_change_of_a_view_changes_its_base(follow):
    def function(x):
        x.view(-1).sigmoid_()
        return x

    assert edges(through(follow, function))[2:] == [("reshape", (1,)), ("sigmoid", (2,)), ("output", (3,))]


def test_an_operation_that_returns_its_input_is_a_node_beside_it(follow):
    graph = through(follow, lambda x: x + F.dropout(x.contiguous(), 0.0, training=False))
    assert edges(graph)[2:] == [("identity", (1,)), ("dropout", (2,)), ("add", (1, 3)), ("output", (4,))]
    assert graph.nodes[3].attrs == {"p": 0.0, "functional": True, "training": False}


def test_outputs_in_dataclasses_and_dicts(follow):
    @dataclass
    class Output:
        first: torch.Tensor
        rest: dict

    graph = through(follow, lambda x: Output(x, {"a": [x * 2], "b": None}))
    assert edges(graph)[2:] == [("mul", (1,)), ("output", (1, 2))]


def test_items_of_collections_are_no_nodes(follow):
    def function(x):
        first, second = x.chunk(2, dim=1)
        values, _ = first.max(dim=1, keepdim=True)
        return torch.cat([values, second], 1)

    graph = through(follow, function)
    assert edges(graph)[2:] == [("split", (1,)), ("max", (2,)), ("cat", (3, 2)), ("output", (4,))]
    assert graph.nodes[3].in_shape == (2, 2)


def test_computations_on_constants_leave_at_most_the_constant(follow):
    graph = through(follow, lambda x: x * (torch.arange(4) * 2 + 1).float())
    assert [(node.op, node.inputs) for node in graph.nodes][2:] == [("constant", ()), ("mul", (1,)), ("output", (3,))]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 2 if x.sum() > 1e9 else x * 3,
        lambda x: x * 3 + 0 * len(x.tolist()),
        lambda x: x * 3 if int(x.argmax()) >= 0 else x,
        lambda x: x * (3 if x.mean().item() < 1e9 else 2),
    ],
)
def test_models_that_read_values_run_on_real_tensors(follow, ops, function):
    graph = through(follow, function)
    assert "mul" in ops(graph)
    assert graph.trace is TraceKind.EXECUTION


def test_models_that_read_values_and_do_not_fit_into_memory(follow, ops):
    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.weight = nn.Linear(8, 2**14), nn.Parameter(torch.empty(2**14, 2**16, device="meta"))

        def forward(self, x):
            chosen = self.gate(x).argmax(-1).tolist()
            return F.linear(x @ self.gate.weight.T, self.weight[:, : len(chosen)].T)

    graph = follow(Routed(), torch.zeros(2, 8), memory=2**20)
    assert ops(graph) == ["linear", "other", "matmul", "linear"]


def test_errors_of_the_model_are_not_hidden_by_those_of_the_tracer(follow):
    def function(x):
        assert x.sum().item() > 1e9, "too little"
        return x

    with pytest.raises(TraceError, match="too little") as error:
        follow(Wrapped(function), torch.zeros(2, 4))
    assert isinstance(error.value.__cause__, AssertionError)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


@torch.jit.script
def scripted(x):
    return torch.relu(x) + 1


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Double.apply, "mul"),
        (lambda x: checkpoint(torch.tanh, x, use_reentrant=False), "tanh"),
        (lambda x: checkpoint(torch.tanh, x, use_reentrant=True), "tanh"),
        (scripted, "other"),
        (torch.vmap(torch.sin), "other"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_wrappers_keep_the_data_flowing(follow, function, expected):
    graph = through(follow, lambda x: torch.sigmoid(function(x)))
    before, after = next(node for node in graph.nodes if node.op == expected), next(node for node in graph.nodes if node.op == "sigmoid")
    assert (before.inputs, after.inputs) == ((1,), (before.index,))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.filterwarnings("ignore")
def test_autocast(follow, ops, device):
    def function(x):
        with torch.autocast(device, dtype=torch.bfloat16):
            return torch.relu(x)

    assert ops(through(follow, function)) == ["linear", "relu"]


def test_autocast_for_the_device_of_the_input(follow, ops):
    def function(x):
        with torch.autocast(x.device.type, enabled=False):
            return torch.relu(x)

    assert ops(through(follow, function)) == ["linear", "relu"]


def test_compiled_parts_are_recorded_as_written(follow, ops):
    model = nn.Sequential(nn.Linear(4, 4), torch.compile(nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())))
    graph = follow(model, torch.zeros(2, 4))
    assert ops(graph) == ["linear", "batch_norm", "relu"]
    assert graph.nodes[2].module == "1._orig_mod.0"


def test_frames_are_those_of_the_user(follow):
    graph = through(follow, lambda x: torch.relu(x))  # noqa: PLW0108 -- the frame of the lambda is what is looked for
    relu = next(node for node in graph.nodes if node.op == "relu")
    assert relu.call_site is not None
    inner, *outer = relu.call_site.frames
    line = Path(__file__).read_text(encoding="utf-8").splitlines()[inner.location.line - 1]
    assert line[inner.location.column - 1 : (inner.location.end_column or 0) - 1] == "torch.relu(x)"
    assert [frame.function for frame in outer] == ["Wrapped.forward"]


def test_detection_operators(follow):
    ops = pytest.importorskip("torchvision.ops", reason="NOT CHECKED: torchvision is not installed (extra `zoo`)")

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.offset = nn.Conv2d(3, 18, 3, padding=1)
            self.deform = ops.DeformConv2d(3, 4, 3, padding=1)

        def forward(self, x):
            pooled = ops.roi_align(self.conv(x), [torch.tensor([[0.0, 0.0, 4.0, 4.0]])] * 2, 2)
            keep = ops.nms(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([0.5]), 0.5)
            return pooled[keep], self.deform(x, self.offset(x))

    graph = follow(Head(), torch.zeros(2, 3, 8, 8))
    found = {node.target for node in graph.nodes if node.op == "other"}
    assert found >= {"torch.ops.torchvision.roi_align", "torch.ops.torchvision.deform_conv2d"}
