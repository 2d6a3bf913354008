import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from normadvisor.fused import ACTIVATIONS
from normadvisor.fused.common.activations import activation as plain
from normadvisor.optimization.fusing.activations import Activation, of_call, of_layer

LAYERS = [
    (nn.ReLU(inplace=True), Activation("relu")),
    (nn.ReLU6(), Activation("relu6")),
    (nn.SiLU(), Activation("silu")),
    (nn.GELU(), Activation("gelu")),
    (nn.GELU("tanh"), Activation("gelu_tanh")),
    (nn.LeakyReLU(0.2), Activation("leaky_relu", 0.2)),
    (nn.LeakyReLU(), Activation("leaky_relu")),
    (nn.Hardswish(), Activation("hardswish")),
    (nn.Mish(), Activation("mish")),
    (nn.PReLU(), None),
    (nn.Sigmoid(), None),
    (nn.Conv2d(1, 1, 1), None),
    (nn.Identity(), None),
]


class Doubled(nn.ReLU):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(("layer", "wanted"), LAYERS, ids=lambda value: type(value).__name__)
def test_layers(layer, wanted):
    assert of_layer(layer) == wanted
    if wanted is not None:
        x = torch.linspace(-4, 4, 33)
        assert wanted.name in ACTIVATIONS
        assert torch.equal(layer(x.clone()), plain(wanted.name, x, wanted.slope))


def test_a_layer_with_a_forward_of_its_own_is_something_else():
    assert of_layer(Doubled()) is None
    own = nn.ReLU()
    own.forward = lambda x: x
    assert of_layer(own) is None


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda x: F.relu(x, inplace=True), Activation("relu")),
        (torch.relu, Activation("relu")),
        (lambda x: x.relu_(), Activation("relu")),
        (lambda x: F.gelu(x, approximate="tanh"), Activation("gelu_tanh")),
        (F.gelu, Activation("gelu")),
        (lambda x: F.leaky_relu(x, 0.3), Activation("leaky_relu", 0.3)),
        (F.leaky_relu, Activation("leaky_relu")),
        (F.silu, Activation("silu")),
        (torch.sigmoid, None),
        (lambda x: x + 1, None),
    ],
)
def test_calls(call, wanted):
    def forward(x):
        return call(x)

    graph = fx.symbolic_trace(forward).graph
    node = next(node for node in graph.nodes if node.op.startswith("call"))
    assert of_call(node) == wanted
    assert of_call(next(iter(graph.nodes))) is None


def test_keys_hold_the_slope_only_where_it_matters():
    assert [Activation("relu", 0.5).key, Activation("leaky_relu", 0.25).key] == ["relu", "leaky_relu 0.25"]
