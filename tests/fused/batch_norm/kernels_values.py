"""What the kernels compute, against torch's own operations and those in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from normadvisor.fused.common.activations import ACTIVATIONS
from normadvisor.fused.common.launch import overridden

SHAPES = [
    (4, 6, 7, 5),
    (2, 3, 40, 33),
    (5, 130),
    (1, 3, 1, 2),
    (3, 1, 9, 9),
    (64, 24, 4, 4),
    (1, 5, 3, 3),
    (2, 40, 17),
    (2, 8, 3, 5, 4),
    (33, 7),
    (2, 1, 5),
    (2, 64, 9, 16),
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize(
    ("shape", "training"), [*((shape, True) for shape in SHAPES), *((shape, False) for shape in [(1, 5, 1, 1), *SHAPES[1:5]])], ids=str
)
def test_any_shape_in_any_order(draw, compare, canary, shape, order, training):
    number = sum(shape)
    act = ACTIVATIONS[number % len(ACTIVATIONS)]
    batch = draw(shape, order=order, act=act, residual=number % 3 == 0, training=training, affine=number % 4 != 3)

    found = compare(batch, guard=canary.guard)

    assert {found["y"].stride(), found["dx"].stride()} == {batch.x.stride()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_any_activation(draw, compare, dtype, act):
    order = ("first", "last")[ACTIVATIONS.index(act) % 2]
    compare(draw((3, 5, 6, 4), order=order, dtype=dtype, act=act, residual=True, training=True))
    compare(draw((3, 5, 6, 4), order=order, dtype=dtype, act=act, residual=False, training=False))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_dtype(draw, compare, dtype):
    for order, residual, training in itertools.product(("first", "last"), (False, True), (False, True)):
        compare(draw((3, 5, 6, 4), order=order, dtype=dtype, act="leaky_relu" if residual else "gelu", residual=residual, training=training))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_with_parameters_and_statistics_in_float32(draw, compare, dtype):
    for order, training in itertools.product(("first", "last"), (False, True)):
        compare(draw((4, 6, 5, 5), order=order, dtype=dtype, parameters=torch.float32, act="silu", residual=True, training=training))


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("programs", [1, 64])
def test_channels_shared_by_many_programs(draw, compare, canary, order, programs):
    names = [f"batch_norm.{kernel}.channels_{order}.4{narrow}" for kernel in ("statistics", "gradients") for narrow in ("", ".narrow")]
    with overridden({name: {"tile": 128, "programs": programs} for name in names}):
        compare(draw((7, 3, 24, 16), order=order, act="gelu", residual=True), guard=canary.guard)


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("tile", [64, 512])
def test_tiles_of_any_size(draw, compare, canary, order, tile):
    names = [f"batch_norm.{kernel}.channels_{order}.4{narrow}" for kernel in ("statistics", "gradients", "apply", "input_gradient") for narrow in ("", ".narrow")]
    with overridden({name: {"tile": tile, "programs": 1} for name in names}):
        compare(draw((3, 20, 9, 5), order=order, act="hardswish", residual=True), guard=canary.guard)
        compare(draw((3, 20, 9, 5), order=order, act="relu", training=False), guard=canary.guard)


def test_nothing_is_tracked(draw, compare):
    compare(draw((4, 6, 5), act="relu", tracked=False))


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("mean", [1000.0, -3e4])
def test_a_mean_far_larger_than_the_deviation(draw, compare, order, mean):
    batch = draw((8, 4, 16, 16), order=order, act="none")
    batch.x = batch.x + mean
    compare(batch)


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_first_value_far_from_all_others(draw, compare, order):
    batch = draw((8, 4, 16, 16), order=order)
    batch.x = batch.x + 0
    batch.x[0, :, 0, 0] = 1e5
    compare(batch)


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("programs", [1, 16])
@pytest.mark.parametrize("value", [0.1, 1000.1, -3e-20])
def test_a_channel_of_one_value_has_no_variance(draw, kernels, order, programs, value):
    batch = draw((5, 3, 12, 11), order=order)
    batch.x = torch.full_like(batch.x, value)
    batch.running_mean, batch.running_var, batch.momentum = torch.zeros_like(batch.running_mean), torch.ones_like(batch.running_var), 1.0

    with overridden({f"batch_norm.statistics.channels_{order}.4.narrow": {"tile": 64, "programs": programs}}):
        found = kernels(batch)

    expected = {"y": batch.bias[:, None, None].expand(batch.x.shape), "running_mean": batch.x[0, :, 0, 0], "running_var": torch.zeros(3)}
    assert [name for name, value in expected.items() if not torch.equal(found[name].cpu(), value.cpu())] == []


@pytest.mark.parametrize("scale", [1e-6, 1e-18, 1e15])
def test_a_variance_far_from_one(draw, compare, scale):
    batch = draw((4, 6, 8, 8), act="relu")
    batch.x = batch.x * scale
    compare(batch)


@pytest.mark.parametrize("order", ["first", "last"])
def test_mean_1000_and_variance_1e_12(draw, compare, torchs, order):
    batch = draw((4, 6, 8, 8), order=order, dtype=torch.float64, act="silu")
    batch.running_mean = torch.zeros_like(batch.running_mean)
    batch.x = (batch.x - 2) / 3e6 + 1000
    moved = draw((4, 6, 8, 8), order=order, dtype=torch.float64, act="silu")
    moved.x, moved.running_mean = batch.x - 1000, batch.running_mean
    exact = torchs(moved)

    compare(batch, exact={**exact, "running_mean": exact["running_mean"] + 300})


@pytest.mark.parametrize("order", ["first", "last"])
def test_mean_1000_and_a_last_place_apart(draw, compare, order):
    batch = draw((4, 6, 8, 8), order=order, act="silu")
    batch.x = torch.full_like(batch.x, 1000).nextafter(batch.x * 1e6)
    compare(batch)


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_channel(draw, kernels, order, bad):
    batch = draw((4, 3, 8, 8), order=order, act="relu")
    clean = kernels(batch)
    batch.x[1, 1, 2, 3] = bad

    found = kernels(batch)

    others = {name: (value[:, [0, 2]] if value.dim() > 1 else value[[0, 2]]) for name, value in clean.items()}
    assert [name for name, value in others.items() if not torch.equal(found[name][:, [0, 2]] if value.dim() > 1 else found[name][[0, 2]], value)] == []
    assert {name: bool(found[name].movedim(1, 0)[1].isnan().all()) for name in ("y", "dx")} == {"y": True, "dx": True}
    assert found["running_var"].isnan().tolist() == [False, True, False]


def test_a_negative_running_variance_gives_nan_as_in_torch(draw, compare):
    batch = draw((4, 3, 8), training=False)
    batch.running_var[1] = -2
    found = compare(batch)
    assert found["y"].isnan().any(dim=2).any(dim=0).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, ::2],
        lambda x: x[:, :, 1:-1, 2:],
        lambda x: x.transpose(2, 3),
        lambda x: x.to(memory_format=torch.channels_last)[:, :3],
        lambda x: x[:, :, :1, :1].expand(-1, -1, 3, 4),
        lambda x: x[::2],
        lambda x: x.flip(0).permute(1, 0, 2, 3),
    ],
)
def test_tensors_with_gaps(draw, compare, view):
    batch = draw((6, 6, 6, 7), act="relu", residual=True)
    x = view(batch.x)
    for name in ("weight", "bias", "running_mean", "running_var"):
        setattr(batch, name, getattr(batch, name)[: x.shape[1]].clone())
    batch.x, batch.residual, batch.dy = x, view(batch.residual), view(batch.dy)
    compare(batch)


def test_addends_and_gradients_in_the_other_order(draw, compare):
    batch = draw((3, 4, 5, 6), act="silu", residual=True)
    batch.residual = batch.residual.to(memory_format=torch.channels_last)
    batch.dy = batch.dy.to(memory_format=torch.channels_last)
    compare(batch)


def test_the_same_bits_each_time(draw, kernels):
    for order in ("first", "last"):
        batch = draw((4, 3, 17, 11), order=order, act="silu", residual=True)
        first, second = kernels(batch), kernels(batch)
        assert [name for name in first if not torch.equal(first[name], second[name])] == []


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # in the interpreter, shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    shape=st.one_of(
        st.tuples(st.integers(2, 40), st.integers(1, 40)),
        st.lists(st.integers(1, 7), min_size=3, max_size=5).map(tuple).filter(lambda shape: shape[0] * torch.Size(shape[2:]).numel() > 1),
    ),
    order=st.sampled_from(["first", "last"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    act=st.sampled_from(ACTIVATIONS),
    residual=st.booleans(),
    training=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whatever_is_drawn(draw, compare, shape, order, dtype, act, residual, training, seed):
    compare(draw(shape, order=order, dtype=dtype, act=act, residual=residual, training=training, seed=seed))
