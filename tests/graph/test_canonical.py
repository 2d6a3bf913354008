from __future__ import annotations

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph.canonical import MODULES, base_name, function_op, module_op, spelling
from normadvisor.types import GROUPS, OPS, TraceKind


def test_every_class_maps_to_a_known_operation():
    assert set(MODULES.values()) <= OPS


@pytest.mark.parametrize("op", GROUPS["activation"])
def test_every_activation_has_a_class(op):
    assert op in MODULES.values()


@pytest.mark.parametrize(
    "target",
    [F.relu, torch.relu, torch.relu_, "relu", "relu_", F.relu_, torch.Tensor.relu, torch.ops.aten.relu, torch.ops.aten.relu.default, torch.ops.aten.relu_.default],
)
def test_spellings_of_relu(target):
    assert function_op(target)[0] == "relu"


@pytest.mark.parametrize(
    ("target", "op", "in_place"),
    [
        (operator.add, "add", False),
        (operator.iadd, "add", True),
        (torch.add, "add", False),
        ("add_", "add", True),
        ("__radd__", "add", False),
        ("__itruediv__", "div", True),
        (operator.matmul, "matmul", False),
        (torch.cat, "cat", False),
        (torch.concat, "cat", False),
        ("view", "reshape", False),
        ("flatten", "flatten", False),
        ("permute", "permute", False),
        (F.scaled_dot_product_attention, "attention", False),
        (F.batch_norm, "batch_norm", False),
        (torch.batch_norm, "batch_norm", False),
        (torch.ops.aten.native_layer_norm.default, "layer_norm", False),
        (F.cross_entropy, "cross_entropy", False),
        (F.smooth_l1_loss, "huber_loss", False),
        (torch.sigmoid_, "sigmoid", True),
        (F.interpolate, "upsample", False),
        (torch.zeros_like, "constant", False),
        (torch.fft.fft, "other", False),
    ],
)
def test_functions_and_methods(target, op, in_place):
    assert function_op(target) == (op, in_place)


def test_elementwise_maximum_is_no_reduction():
    assert function_op(torch.max, tensors=1)[0] == "max"
    assert function_op(torch.max, tensors=2)[0] == "other"


def test_functions_of_the_user_are_not_matched_by_name():
    def relu(x: torch.Tensor) -> torch.Tensor:
        return x

    assert function_op(relu) == ("other", False)


def test_subclasses_map_like_their_base():
    class Mine(nn.BatchNorm2d):
        pass

    assert module_op(Mine) == ("batch_norm", nn.BatchNorm2d)
    assert module_op(nn.Sequential) is None


@pytest.mark.parametrize(("name", "expected"), [("relu_", ("relu", True)), ("__iadd__", ("add", True)), ("__add__", ("add", False)), ("relu", ("relu", False))])
def test_base_name(name, expected):
    assert base_name(name) == expected


def test_spelling():
    assert spelling(F.relu)[1] == "torch.nn.functional.relu"
    assert spelling("relu_")[1] == "Tensor.relu_"
    assert spelling(torch.relu)[1] == "torch.relu"
    assert spelling(torch.ops.aten.relu.default)[1] == "torch.ops.aten.relu"


class Spelled(nn.Module):
    def forward(self, x):
        x = F.relu(x)
        x = torch.relu(x)
        x = x.relu()
        x = torch.nn.functional.relu_(x)
        x = x.relu_()
        x = F.relu(x, inplace=True)
        x += 1
        x = 1 - x
        x = torch.cat([x, x], dim=1)
        x = x.view(x.size(0), -1).reshape(2, -1).flatten(1)
        x = torch.ops.aten.sigmoid(x)
        return F.softmax(x, dim=-1)


@pytest.mark.parametrize("tracer", [TraceKind.SYMBOLIC, TraceKind.EXECUTION])
def test_both_tracers_understand_every_spelling(follow, images, ops, tracer):
    graph = follow(Spelled(), images, tracer=tracer)
    assert ops(graph) == ["relu"] * 6 + ["add", "sub", "cat", "reshape", "reshape", "flatten", "sigmoid", "softmax"]
    assert [node.inputs for node in graph.nodes[1:]] == [(index,) for index in range(len(graph.nodes) - 1)]
