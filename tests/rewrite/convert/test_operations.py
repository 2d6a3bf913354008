"""Conversions as operations: which class with which arguments, one list for each line."""

from __future__ import annotations

import pytest

from normadvisor.errors import UsageError
from normadvisor.graph import trace
from normadvisor.rewrite.convert import conversion_operations
from normadvisor.targets.build import build
from normadvisor.targets.inputs import candidate_inputs, parse_input
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target
from normadvisor.types import Operation, OperationKind, Part, RunContext

CODE = """
from torch import nn


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3), nn.BatchNorm2d(o, eps=1e-3))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(block(3, 24), block(24, 40))
        self.bn = nn.BatchNorm2d(40, affine=False, momentum=0.2)
        self.fc = nn.Linear(40, 16)
        self.head = nn.BatchNorm1d(16)
        self.sync = nn.SyncBatchNorm(16)
        self.never = nn.BatchNorm2d(7, track_running_stats=False)

    def forward(self, x):
        return self.sync(self.head(self.fc(self.bn(self.body(x)).mean((2, 3)))))
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp("convert") / "net.py"
    path.write_text(CODE)
    built = build(load(parse_target(f"{path}:Net", path.parent)))
    inputs = next(candidate_inputs(built.model, [parse_input("2x3x8x8")], RunContext()))
    return trace(built.model, inputs, target="net", sites=built.sites, defined_at=built.defined_at)


def told(graph, to, **options):
    """By line: the layers and what they become."""
    return [
        [(item.part.module, item.layer.rpartition(".")[2], dict(item.arguments)) for item in operations]
        for operations in conversion_operations(graph, to, **options)
    ]


def test_group_norm(graph):
    assert told(graph, "group_norm") == [
        [
            ("body.0.1", "GroupNorm", {"num_groups": 8, "num_channels": 24, "eps": 0.001}),
            ("body.1.1", "GroupNorm", {"num_groups": 8, "num_channels": 40, "eps": 0.001}),
        ],
        [("bn", "GroupNorm", {"num_groups": 20, "num_channels": 40, "affine": False})],
        [("head", "GroupNorm", {"num_groups": 1, "num_channels": 16})],
        [("sync", "GroupNorm", {"num_groups": 1, "num_channels": 16})],
        [("never", "GroupNorm", {"num_groups": 1, "num_channels": 7})],
    ]


def test_layer_norm(graph):
    assert told(graph, "layer_norm")[1:3] == [
        [("bn", "GroupNorm", {"num_groups": 1, "num_channels": 40, "affine": False})],
        [("head", "LayerNorm", {"normalized_shape": 16})],
    ]


def test_sync_batch_norm(graph):
    assert told(graph, "sync_batch_norm")[1:] == [
        [("bn", "SyncBatchNorm", {"num_features": 40, "momentum": 0.2, "affine": False})],
        [("head", "SyncBatchNorm", {"num_features": 16})],
        [("never", "SyncBatchNorm", {"num_features": 7, "track_running_stats": False})],
    ]


def test_instance_norm_of_maps(graph):
    assert told(graph, "instance_norm") == [
        [
            ("body.0.1", "InstanceNorm2d", {"num_features": 24, "affine": True, "eps": 0.001}),
            ("body.1.1", "InstanceNorm2d", {"num_features": 40, "affine": True, "eps": 0.001}),
        ],
        [("bn", "InstanceNorm2d", {"num_features": 40})],
        [("never", "InstanceNorm2d", {"num_features": 7, "affine": True})],
    ]


def test_frozen_batch_norm(graph):
    pytest.importorskip("torchvision")
    found = [item for operations in conversion_operations(graph, "frozen_batch_norm") for item in operations]
    assert [(item.part.module, item.layer) for item in found] == [
        ("body.0.1", "torchvision.ops.FrozenBatchNorm2d"),
        ("body.1.1", "torchvision.ops.FrozenBatchNorm2d"),
        ("bn", "normadvisor.rewrite.convert.FrozenBatchNorm"),
        ("head", "normadvisor.rewrite.convert.FrozenBatchNorm"),
        ("sync", "normadvisor.rewrite.convert.FrozenBatchNorm"),
    ]


def test_chosen_layers_and_fewer_groups(graph):
    assert told(graph, "group_norm", layers=["body.*", "!*.0.1"], groups=4) == [
        [("body.1.1", "GroupNorm", {"num_groups": 4, "num_channels": 40, "eps": 0.001})],
    ]


def test_names_the_node(graph):
    node = next(node.name for node in graph.nodes if node.module == "bn")
    arguments = {"num_groups": 20, "num_channels": 40, "affine": False}
    assert conversion_operations(graph, "group_norm", "bn") == [
        [
            Operation(
                kind=OperationKind.REPLACE_LAYER,
                part=Part("bn", node, "batch_norm"),
                layer="torch.nn.GroupNorm",
                arguments=arguments,
            ),
        ]
    ]


def test_errors(graph):
    with pytest.raises(UsageError, match="no conversion to 'x'"):
        conversion_operations(graph, "x")
    with pytest.raises(UsageError, match="cannot have 0 groups"):
        conversion_operations(graph, "group_norm", groups=0)
