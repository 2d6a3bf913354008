import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph.written.model import Surroundings
from normadvisor.graph.written.norms import norm_at
from normadvisor.optimization.forward import local_graphs

WIDTH = 16


def found_in(forward, x=None, parameters=("weight", "bias")):
    """What ``norm_at`` finds at the result of a forward: operation, inputs by name, arguments, reason."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            for name in parameters:
                self.register_parameter(name, nn.Parameter(torch.ones(WIDTH)))

        def forward(self, x):
            return forward(self, x)

    model = Model().to((x if x is not None else torch.ones(1)).dtype)
    x = torch.randn(2, 3, WIDTH) if x is None else x
    local = next(iter(local_graphs(model, SimpleNamespace(args=(x,), kwargs={}))))
    root = next(node for node in local.graph.nodes if node.op == "output").args[0]
    found = norm_at(root, Surroundings(local.graph, model))
    if found is None:
        return None
    return found.op, {name: str(node) for name, node in found.inputs.items()}, dict(found.arguments), found.refused


def llama(self, x):
    dtype = x.dtype
    x = x.to(torch.float32)
    x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    return self.weight * x.to(dtype)


def gemma(self, x):
    x = x.float()
    x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    return x * (1.0 + self.weight.float())


def gemma_cast_back(self, x):
    return gemma(self, x).type_as(x)


def t5(self, x):
    variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
    return self.weight * (x * torch.rsqrt(variance + 1e-6))


def lucidrains(self, x):
    return F.normalize(x, dim=-1) * WIDTH**0.5 * self.weight


def by_sum(self, x):
    return x / ((x * x).sum(-1, keepdim=True) / x.shape[-1] + 1e-5).sqrt()


def by_number(self, x):
    return x / torch.sqrt(x.square().sum(-1, keepdim=True) / 16 + 1e-5)


def by_power(self, x):
    return x * (x.square().mean(dim=-1, keepdim=True) + 1e-8).pow(-0.5) * self.weight


def by_variance(self, x):
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).pow(2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * self.weight + self.bias


def by_var_mean(self, x):
    variance, mean = torch.var_mean(x, -1, keepdim=True, correction=0)
    return (x - mean) * torch.rsqrt(variance + 1e-12) * self.weight


def by_moments(self, x):
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-3).sqrt()


def residual(self, x):
    x = torch.tanh(x) + x
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.weight


def last(eps, **more):
    return {"normalized_shape": [WIDTH], "eps": eps, "axes": [2], **more}


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (llama, ("rms_norm", {"input": "x", "weight": "weight"}, last(1e-6), "")),
        (gemma, ("rms_norm", {"input": "float_1", "weight": "add_1"}, last(1e-6), "")),
        (t5, ("rms_norm", {"input": "x", "weight": "weight"}, last(1e-6, widens=True), "")),
        (lucidrains, ("rms_norm", {"input": "x", "weight": "weight"}, last(1e-24 / WIDTH), "")),
        (by_sum, ("rms_norm", {"input": "x"}, last(1e-5, sizes="any"), "")),
        (by_number, ("rms_norm", {"input": "x"}, last(1e-5, sizes="fixed"), "")),
        (by_power, ("rms_norm", {"input": "x", "weight": "weight"}, last(1e-8), "")),
        (by_variance, ("layer_norm", {"input": "x", "weight": "weight", "bias": "bias"}, last(1e-5), "")),
        (by_var_mean, ("layer_norm", {"input": "x", "weight": "weight"}, last(1e-12), "")),
        (by_moments, ("layer_norm", {"input": "x"}, last(1e-3, sizes="any"), "")),
        (residual, ("rms_norm", {"input": "add", "weight": "weight"}, last(1e-5), "")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_norm_computes_counts_not_its_spelling(forward, expected):
    assert found_in(forward) == expected


def test_a_cast_to_the_dtype_of_the_input_is_no_part_of_a_norm_in_single_precision():
    assert found_in(gemma_cast_back) is None


def test_in_half_precision_what_is_cast_back_is_the_same():
    x = torch.randn(2, 3, WIDTH, dtype=torch.bfloat16)
    assert found_in(llama, x) == ("rms_norm", {"input": "x", "weight": "weight"}, last(1e-6), "")
    assert found_in(t5, x) is None  # gives single precision


def channels_first(self, x):
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    x = (x - mean) / torch.sqrt(variance + 1e-6)
    return self.weight[:, None, None] * x + self.bias[:, None, None]


def over_maps(self, x):
    mean = x.mean((1, 2, 3), keepdim=True)
    variance = (x - mean).square().mean((1, 2, 3), keepdim=True)
    return (x - mean) * (variance + 1e-5).rsqrt()


def test_axes_ahead_of_the_last_and_several_of_them():
    found = found_in(channels_first, torch.randn(2, WIDTH, 4, 5))
    arguments = {"normalized_shape": [WIDTH], "eps": 1e-6, "axes": [1]}
    assert found == ("layer_norm", {"input": "x", "weight": "getitem", "bias": "getitem_1"}, arguments, "")
    found = found_in(over_maps, torch.randn(2, 6, 4, 5))
    assert found == ("layer_norm", {"input": "x"}, {"normalized_shape": [6, 4, 5], "eps": 1e-5, "axes": [1, 2, 3], "sizes": "any"}, "")


def annotated(self, x):
    return self.weight * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + self.bias


def biased_outside(self, x):
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / (x.std(-1, keepdim=True, unbiased=False) + 1e-6)


def test_what_is_nearly_a_norm_is_refused_with_the_reason():
    refused = [found_in(annotated), found_in(biased_outside)]
    assert [(found[0], found[3]) for found in refused] == [
        ("layer_norm", "its standard deviation divides by n - 1, and that of torch's layer_norm by n"),
        ("layer_norm", "its eps is not added to the variance, as layer_norm of torch does"),
    ]


def scaled(self, x):
    return x / math.sqrt(x.shape[-1])


def standardised_over_samples(self, x):
    return (x - x.mean(0, keepdim=True)) * torch.rsqrt(x.var(0, unbiased=False, keepdim=True) + 1e-5)


def used_elsewhere(self, x):
    deviation = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    return x * deviation + torch.relu(deviation)


def group(self, x):
    y = x.reshape(2, 3, 4, 4)
    y = (y - y.mean(-1, keepdim=True)) * torch.rsqrt(y.var(-1, unbiased=False, keepdim=True) + 1e-5)
    return y.reshape(x.shape)


def in_place(self, x):
    y = x * 1
    y.mul_(torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))
    return y


@pytest.mark.parametrize("forward", [scaled, standardised_over_samples, used_elsewhere, group, in_place])
def test_what_is_no_norm_is_none(forward):
    assert found_in(forward) is None
