"""Memory formats, buffers, activations and comparisons, in torch's own operations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normadvisor.fused.common import buffers
from normadvisor.fused.common.activations import ACTIVATIONS, activation, activation_of, check_activation, promoted
from normadvisor.fused.common.memory_format import dense, like, spatial_size
from normadvisor.fused.common.reference import gradients, in_float64, relative_error

IMAGE = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("x", "last", "copied"),
    [
        (IMAGE, False, False),
        (IMAGE.contiguous(memory_format=torch.channels_last), True, False),
        (torch.zeros(2, 5, 3).transpose(1, 2), True, False),
        (torch.zeros(2, 4, 5, 6, 3).movedim(-1, 1), True, False),
        (torch.zeros(2, 3), False, False),
        (torch.zeros(3, 2).t(), False, True),
        (IMAGE[:, :, ::2], False, True),
        (IMAGE.permute(0, 1, 3, 2), False, True),
        (torch.zeros(1, 3, 1, 1), False, False),
    ],
)
def test_dense(x, last, copied):
    found = dense(x)
    assert (torch.equal(found, x), not found.is_contiguous(), found.data_ptr() != x.data_ptr()) == (True, last, copied)
    assert found.is_contiguous() or found.movedim(1, -1).is_contiguous()


def test_a_tensor_with_gaps_becomes_dense_in_the_order_it_is_nearer_to():
    first, last = torch.randn(2, 6, 4, 4), torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last)
    found = [dense(first[:, ::2]), dense(last[:, :4]), dense(last[:, :, 1:]), dense(first.transpose(2, 3))]
    assert [tensor.stride() for tensor in found] == [(48, 16, 4, 1), (64, 1, 16, 4), (72, 1, 24, 6), (96, 16, 4, 1)]
    assert [torch.equal(tensor, source) for tensor, source in zip(found, [first[:, ::2], last[:, :4], last[:, :, 1:], first.transpose(2, 3)], strict=True)] == [True] * 4


def test_another_tensor_is_copied_only_into_another_order():
    first, last = torch.randn(2, 6, 4, 4), torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last)
    assert like(first, torch.empty_like(first)) is first
    assert like(last, torch.empty_like(last)) is last
    moved = like(first, last)
    assert (moved.stride(), torch.equal(moved, first)) == (last.stride(), True)


def test_like():
    last = IMAGE.contiguous(memory_format=torch.channels_last)
    assert like(IMAGE, IMAGE) is IMAGE
    for x in (IMAGE, IMAGE[:1].expand(2, 3, 4, 5)):
        found = like(x, last)
        assert (found.stride(), torch.equal(found, x)) == (last.stride(), True)
    assert like(IMAGE.double(), last).dtype == torch.float64


def test_spatial_size():
    assert [spatial_size(torch.zeros(shape)) for shape in ((2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 0))] == [1, 4, 20, 0]


def test_buffers():
    last = IMAGE.contiguous(memory_format=torch.channels_last)
    assert (buffers.empty_like(last).stride(), buffers.empty_like(last, torch.float64).dtype) == (last.stride(), torch.float64)
    made = buffers.empty((2, 3), torch.int64, torch.device("cpu"))
    assert (made.shape, made.dtype) == ((2, 3), torch.int64)


LAYERS = [
    (nn.Identity(), "none", 0.01),
    (nn.ReLU(inplace=True), "relu", 0.01),
    (nn.ReLU6(), "relu6", 0.01),
    (nn.LeakyReLU(0.3), "leaky_relu", 0.3),
    (nn.SiLU(), "silu", 0.01),
    (nn.GELU(), "gelu", 0.01),
    (nn.GELU(approximate="tanh"), "gelu_tanh", 0.01),
    (nn.Hardswish(), "hardswish", 0.01),
    (nn.Mish(), "mish", 0.01),
]


@pytest.mark.parametrize(("layer", "name", "slope"), LAYERS)
def test_activations_are_those_of_torch(layer, name, slope):
    assert activation_of(layer) == (name, slope)
    x = torch.linspace(-8, 8, 101)
    expected = layer(x.clone())
    assert torch.equal(activation(name, x, slope), expected)
    assert torch.equal(activation(name, x.clone(), slope, inplace=True), expected)


def test_all_activations_have_a_layer():
    assert sorted(name for _, name, _ in LAYERS) == sorted(ACTIVATIONS)


def test_unknown_activations():
    class Shifted(nn.ReLU):
        def forward(self, x):
            return super().forward(x - 1)

    assert [activation_of(layer) for layer in (nn.Tanh(), Shifted(), nn.Hardtanh())] == [None, None, None]
    assert check_activation("silu") == "silu"
    with pytest.raises(ValueError) as error:
        check_activation("swish")
    assert str(error.value) == f"unknown activation 'swish': expected one of {', '.join(ACTIVATIONS)}"


def test_promoted():
    assert promoted(torch.zeros(1).bfloat16(), None) == torch.float32
    assert promoted(torch.zeros(1), torch.zeros(1).double()) == torch.float64


def test_in_float64():
    x = torch.ones(2, requires_grad=True)
    wide, number, indices, nothing = in_float64((x, 3, torch.ones(2).int(), None))
    assert (wide.dtype, wide.requires_grad, wide.is_leaf, number, indices.dtype, nothing) == (torch.float64, True, True, 3, torch.int32, None)


def test_gradients():
    x, y = torch.tensor([2.0, 3.0], requires_grad=True), torch.tensor([5.0, 7.0], requires_grad=True)
    found = gradients(lambda x, y, z: (x * y, x + z), (x, y, torch.ones(2)), (torch.ones(2).double(), torch.tensor([10.0, 10.0])))
    assert [tensor.tolist() for tensor in found] == [[10, 21], [3, 4], [15, 17], [2, 3]]


def test_relative_error():
    exact = torch.tensor([1.0, -4.0, 2.0]).double()
    assert relative_error(torch.tensor([1.0, -4.0, 2.5]), exact) == 0.125
    assert relative_error(torch.tensor([1.0, float("nan"), 2.0]), exact) == float("inf")
    assert relative_error(torch.tensor([float("nan")]), torch.tensor([float("nan")]).double()) == 0
    assert relative_error(torch.tensor([0.5]), torch.tensor([0.0]).double()) == 0.5
    assert relative_error(torch.zeros(0), torch.zeros(0).double()) == 0
    with pytest.raises(ValueError, match=r"shapes differ: \(3,\) and \(1,\)"):
        relative_error(exact, exact[:1])
