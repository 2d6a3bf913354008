"""What the kernels of GroupNorm compute: outputs and gradients against torch's own in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from normadvisor.fused import ACTIVATIONS, group_norm_act, group_norm_supported, overridden
from normadvisor.fused.common.activations import activation
from normadvisor.fused.common.reference import gradients, in_float64, relative_error

SHAPES = [
    ((1, 4, 7, 11), 2),
    ((2, 6, 4, 4), 2),
    ((1, 3, 70), 3),
    ((1, 4, 3, 3, 3), 1),
    ((2, 6), 2),
    ((1, 1, 2, 1), 1),
    ((3, 4, 1, 1), 2),
]


def arguments(shape, dtype, device, layout, *, affine=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = layout((torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 3).to(device, dtype)).requires_grad_()
    if not affine:
        return x, None, None
    weight, bias = torch.randn(2, shape[1], generator=generator, dtype=torch.float64).to(device, dtype)
    return x, weight.clone().requires_grad_(), bias.clone().requires_grad_()


def fused(groups, act, eps=1e-5, slope=0.01):
    def run(x, weight, bias):
        assert group_norm_supported(x, weight, bias) == ""
        return group_norm_act(x, groups, weight, bias, eps, act=act, negative_slope=slope)

    return run


def plain(groups, act, eps=1e-5, slope=0.01):
    return lambda x, weight, bias: activation(act, F.group_norm(x, groups, weight, bias, eps), slope)


def seed_for(x):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(x.device)


@pytest.mark.parametrize(("shape", "groups"), SHAPES)
def test_outputs_and_gradients(way, layout, shape, groups, device, canary):
    given_ = arguments(shape, torch.float64, device, layout)
    seed = seed_for(given_[0])
    actual = gradients(fused(groups, "silu"), [canary.guard(tensor) for tensor in given_], [seed])
    expected = gradients(plain(groups, "silu"), given_, [seed])
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)
    assert [tensor.stride() for tensor in actual[:2]] == [given_[0].stride()] * 2


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation(way, act, device, canary):
    given_ = arguments((1, 2, 9, 8), torch.float64, device, torch.Tensor.contiguous)
    seed = seed_for(given_[0])
    actual = gradients(fused(1, act, slope=-0.25), [canary.guard(tensor) for tensor in given_], [seed])
    torch.testing.assert_close(actual, gradients(plain(1, act, slope=-0.25), given_, [seed]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("affine", "frozen"), [("both", ""), ("weight", ""), ("bias", ""), ("none", ""), ("both", "weight"), ("both", "input")])
def test_parameters_that_are_missing_or_take_no_gradient(way, affine, frozen, device, canary):
    x, weight, bias = arguments((1, 4, 5, 3), torch.float64, device, torch.Tensor.contiguous)
    given_ = [x, weight if affine in {"both", "weight"} else None, bias if affine in {"both", "bias"} else None]
    for place, name in enumerate(("input", "weight")):
        if frozen == name:
            given_[place] = given_[place].detach()
    seed = seed_for(x)
    actual = gradients(fused(2, "gelu"), [canary.guard(tensor) if tensor is not None else None for tensor in given_], [seed])
    # Torch 2.6 cannot differentiate a norm that has a bias alone: a weight of ones is none.
    given_[1] = torch.ones_like(weight.detach()) if given_[1] is None else given_[1]
    torch.testing.assert_close(actual, gradients(plain(2, "gelu"), given_, [seed]), rtol=1e-11, atol=1e-11)


FLOOR = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""A few units in the last place: below that two results are as good as each other."""


def adversarial(kind, shape, device):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    weight, bias = torch.randn(2, shape[1], generator=generator, dtype=torch.float64)
    changes = {
        "plain": lambda: (x, weight, bias),
        "mean 1000": lambda: (x + 1000, weight, bias),
        "variance 1e-12": lambda: (x * 1e-6, weight, bias),
        "negative weight": lambda: (x, -weight.abs(), bias),
        "zero weight": lambda: (x, weight * 0, bias),
        "constant": lambda: (x * 0 + 3, weight, bias),
        "one channel far off": lambda: (x + 100 * (torch.arange(shape[1]).reshape(1, -1, 1, 1) == 1), weight, bias),
    }
    return tuple(tensor.clone().to(device) for tensor in changes[kind]())


NARROW = ["plain", "mean 1000", "negative weight"]
WIDE = [*NARROW, "variance 1e-12", "zero weight", "constant", "one channel far off"]


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [*((torch.float32, kind) for kind in WIDE), *((dtype, kind) for dtype in (torch.float16, torch.bfloat16) for kind in NARROW)],
)
def test_rounding_error_is_at_most_twice_that_of_torch(way, kind, dtype, device):
    given_ = tuple(tensor.to(dtype).requires_grad_() for tensor in adversarial(kind, (1, 3, 9, 11), device))
    seed = seed_for(given_[0])
    exact = gradients(plain(1, "silu"), in_float64(given_), [seed.to(dtype).double()])
    ours = gradients(fused(1, "silu"), given_, [seed])
    theirs = gradients(plain(1, "silu"), given_, [seed])
    for name, mine, other, true in zip(("output", "input", "weight", "bias"), ours, theirs, exact, strict=True):
        assert relative_error(mine, true) <= max(2 * relative_error(other, true), FLOOR[dtype]), name


def test_a_mean_of_a_thousand_deviations_costs_no_digits(way, layout, device):
    given_ = tuple(tensor.float().requires_grad_() for tensor in adversarial("mean 1000", (1, 3, 9, 11), device))
    given_ = (layout(given_[0].detach()).requires_grad_(), *given_[1:])
    seed = seed_for(given_[0])
    exact = gradients(plain(1, "silu"), in_float64(given_), [seed.float().double()])
    errors = [relative_error(mine, true) for mine, true in zip(gradients(fused(1, "silu"), given_, [seed]), exact, strict=True)]
    assert max(errors) < 1e-6, errors


def test_parameters_in_float32_beside_a_narrow_input(way, device):
    x, weight, bias = arguments((1, 6, 5, 7), torch.bfloat16, device, torch.Tensor.contiguous)
    given_ = (x, weight.detach().float().requires_grad_(), bias.detach().float().requires_grad_())
    seed = seed_for(x)
    exact = gradients(plain(3, "relu"), in_float64(given_), [seed.bfloat16().double()])
    ours = gradients(fused(3, "relu"), given_, [seed])
    assert [tensor.dtype for tensor in ours] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    assert [relative_error(mine, true) < 1.6e-2 for mine, true in zip(ours, exact, strict=True)] == [True] * 4


def test_strides_with_gaps_and_expanded_gradients(way, device):
    wide = torch.randn(2, 4, 4, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(device)
    weight, bias = (torch.randn(8, 2, generator=torch.Generator().manual_seed(6), dtype=torch.float64).to(device)[::2, 0] for _ in range(2))
    for gapped in (wide[:, :, ::2, 1:5], wide.permute(3, 1, 2, 0)[:2], wide[:1].expand(2, 4, 4, 6)):
        x = gapped.detach().requires_grad_()
        y = group_norm_act(x, 2, weight, bias, act="silu")
        expected = F.silu(F.group_norm(x, 2, weight, bias))
        torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(torch.autograd.grad(y.sum(), x), torch.autograd.grad(expected.sum(), x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [(1, 4, 9, 11), (2, 1, 200)])
def test_programs_that_go_through_several_tiles(layout, shape, device, canary):
    given_ = arguments(shape, torch.float64, device, layout)
    seed = seed_for(given_[0])
    split = {f"group_norm.{name}": {"tile": 32, "programs": 1} for name in ("statistics", "apply", "sums", "gradient")}
    split |= {f"group_norm.{name}{suffix}": {"limit": 0} for name in ("whole", "streamed") for suffix in ("", "_backward")}
    with overridden(split):
        actual = gradients(fused(shape[1], "gelu_tanh"), [canary.guard(tensor) for tensor in given_], [seed])
    torch.testing.assert_close(actual, gradients(plain(shape[1], "gelu_tanh"), given_, [seed]), rtol=1e-11, atol=1e-11)


def test_results_are_the_same_every_time(way, layout, device):
    given_ = arguments((1, 3, 9, 11), torch.float32, device, layout)
    seed = seed_for(given_[0])
    first, second = (gradients(fused(3, "silu"), given_, [seed]) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_what_is_not_finite_stays_in_its_group(way, device):
    x, weight, bias = arguments((2, 6, 5, 7), torch.float64, device, torch.Tensor.contiguous)
    spoiled = x.detach().clone()
    spoiled[0, 0, 2, 2], spoiled[1, 5, 0, 0] = float("nan"), float("inf")
    actual, expected = (run(spoiled, weight, bias) for run in (fused(3, "relu"), plain(3, "relu")))
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11, equal_nan=True)


@settings(max_examples=25)
@given(
    samples=st.integers(1, 2),
    groups=st.integers(1, 3),
    depth=st.integers(1, 5),
    spatial=st.lists(st.integers(1, 7), min_size=0, max_size=2),
    last=st.booleans(),
    tile=st.sampled_from([32, 64, 128]),
    limits=st.sampled_from([(16384, 0), (0, 2**30), (0, 0)]),
)
def test_any_shape(samples, groups, depth, spatial, last, tile, limits, device):
    shape = (samples, groups * depth, *spatial)
    if samples * depth * torch.Size(spatial).numel() == 1:
        return
    layout = (lambda x: x.movedim(1, -1).contiguous().movedim(-1, 1)) if last else torch.Tensor.contiguous
    given_ = arguments(shape, torch.float64, device, layout)
    seed = seed_for(given_[0])
    whole, streamed = limits
    regimes = {name: {"limit": whole} for name in ("group_norm.whole", "group_norm.whole_backward")}
    regimes |= {name: {"limit": streamed, "tile": tile, "programs": 0} for name in ("group_norm.streamed", "group_norm.streamed_backward")}
    regimes |= {f"group_norm.{name}": {"tile": tile} for name in ("statistics", "apply", "sums", "gradient")}
    with overridden(regimes):
        actual = gradients(fused(groups, "silu", eps=1e-2), given_, [seed])
    torch.testing.assert_close(actual, gradients(plain(groups, "silu", eps=1e-2), given_, [seed]), rtol=1e-10, atol=1e-10)
