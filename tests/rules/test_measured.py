"""The numbers that the rules quote, measured again.

Every ``why`` in ``rules/order`` and ``rules/activation`` that says "measured" rests on one of these tests; those of the rules on scripts rest
on ``test_measured_scripts.py``.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CANCELLED = 1e-12
"""In double precision a gradient this small beside the weight's is rounding error."""


@pytest.fixture(autouse=True)
def _one_seed() -> Iterator[None]:
    """Draw the same numbers in every order of the tests, without touching the generator of other tests."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def bias_share(between: nn.Module, norm: nn.Module, dtype: torch.dtype = torch.float64) -> float:
    """Gradient of a convolution's bias over the gradient of its weight, for ``conv -> between -> norm -> relu``."""
    conv = nn.Conv2d(3, 8, 3, padding=1)
    net = nn.Sequential(conv, between, norm).to(dtype)
    out = torch.relu(net(torch.randn(4, 3, 16, 16, dtype=dtype)))
    (out - torch.randn_like(out)).square().mean().backward()
    assert conv.bias is not None
    assert conv.bias.grad is not None
    assert conv.weight.grad is not None
    return (conv.bias.grad.norm() / conv.weight.grad.norm()).item()


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(8), nn.BatchNorm2d(8, track_running_stats=False), nn.InstanceNorm2d(8), nn.GroupNorm(8, 8), nn.LayerNorm(16),
        nn.LayerNorm((16, 16)),
    ],
    ids=["batch", "batch-no-stats", "instance", "group-of-one", "layer-over-width", "layer-over-map"],
)  # fmt: skip
def test_norm_that_leaves_channels_apart_cancels_the_bias(norm: nn.Module) -> None:
    assert bias_share(nn.Identity(), norm) < CANCELLED


def test_single_precision_leaves_rounding_error_only() -> None:
    assert bias_share(nn.Identity(), nn.BatchNorm2d(8), torch.float32) < 1e-6


@pytest.mark.parametrize(
    "norm",
    [nn.GroupNorm(4, 8), nn.GroupNorm(1, 8), nn.LayerNorm((8, 16, 16)), nn.BatchNorm2d(8).eval(), nn.RMSNorm(16)],
    ids=["group-of-two", "one-group", "layer-over-channels", "frozen-batch", "rms-over-width"],
)
def test_norm_that_mixes_channels_or_keeps_the_mean_needs_the_bias(norm: nn.Module) -> None:
    assert bias_share(nn.Identity(), norm) > 0.1


@pytest.mark.parametrize(
    "between",
    [
        nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AdaptiveMaxPool2d(4), nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AdaptiveAvgPool2d(4), nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.CircularPad2d(1), nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_adds_the_same_bias_everywhere_keeps_it_cancelled(between: nn.Module) -> None:
    assert bias_share(between, nn.BatchNorm2d(8)) < CANCELLED


@pytest.mark.parametrize(
    "between",
    [nn.ZeroPad2d(1), nn.AvgPool2d(3, 2, 1), nn.Dropout(0.5), nn.Dropout2d(0.5), nn.ReLU(), nn.LPPool2d(2, 2)],
    ids=repr,
)
def test_what_adds_it_unevenly_makes_the_bias_count(between: nn.Module) -> None:
    assert bias_share(between, nn.BatchNorm2d(8)) > 0.1


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test_dropout_before_batch_norm_leaves_a_variance_of_one_minus_p(p: float) -> None:
    dropout, norm = nn.Dropout(p), nn.BatchNorm1d(64)
    with torch.no_grad():
        for _ in range(100):
            norm(dropout(torch.randn(2048, 64)))
        norm.eval()
        variance = norm(torch.randn(20_000, 64)).var().item()
    assert variance == pytest.approx(1 - p, rel=0.02)


@pytest.mark.parametrize(("p", "expected"), [(0.1, 0.86), (0.2, 0.73), (0.5, 0.41)])
def test_variance_shift_passes_through_a_linear_layer(p: float, expected: float) -> None:
    hidden = torch.relu(torch.randn(20_000, 64))
    layer = nn.Linear(64, 64)
    with torch.no_grad():
        ratio = (layer(hidden).var(0) / layer(F.dropout(hidden, p)).var(0)).mean().item()
    assert ratio == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.BatchNorm2d(8), (8, 8, 16, 16)),
        (lambda: nn.InstanceNorm2d(8), (8, 8, 16, 16)),
        (lambda: nn.LayerNorm(64), (8, 64)),
        (lambda: nn.RMSNorm(64, eps=1e-5), (8, 64)),
    ],
    ids=["batch", "instance", "layer", "rms"],
)
def test_a_second_norm_changes_nothing_at_initialisation(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    once = make()(torch.randn(shape) * 3 + 1)
    assert ((make()(once) - once).abs().max() / once.abs().max()).item() < 1e-5


def test_a_second_batch_norm_undoes_any_affine_of_the_first_but_a_second_layer_norm_does_not() -> None:
    x = torch.randn(64, 32, dtype=torch.float64) * 3 + 1
    change = {}
    for kind in (nn.BatchNorm1d, nn.LayerNorm):
        first, second = kind(32).double(), kind(32).double()
        with torch.no_grad():
            plain = second(first(x))
            nn.init.uniform_(first.weight, 0.5, 2.0)
            nn.init.normal_(first.bias)
            change[kind] = (second(first(x)) - plain).abs().max().item()
    assert change[nn.BatchNorm1d] < 1e-4
    assert change[nn.LayerNorm] > 0.1


@pytest.mark.parametrize(("classes", "shrink", "floor"), [(10, 9.4, 1.46), (100, 66, 3.62), (1000, 538, 5.91)])
def test_softmax_before_cross_entropy_shrinks_the_gradient_and_lifts_the_floor(classes: int, shrink: float, floor: float) -> None:
    logits, target = torch.randn(256, classes, requires_grad=True), torch.randint(classes, (256,))

    def gradient(values: torch.Tensor) -> float:
        return torch.autograd.grad(F.cross_entropy(values, target), logits)[0].norm().item()

    assert gradient(logits) / gradient(logits.softmax(-1)) == pytest.approx(shrink, rel=0.05)
    assert gradient(logits) / gradient(logits.log_softmax(-1)) == pytest.approx(1)
    perfect = F.cross_entropy(torch.eye(classes), torch.arange(classes)).item()
    assert perfect == pytest.approx(floor, abs=0.005)
    assert perfect == pytest.approx(math.log(classes - 1 + math.e) - 1, abs=1e-5)


def test_softmax_before_nll_loss_is_minus_the_probability() -> None:
    probabilities, target = torch.randn(8, 10).softmax(-1), torch.arange(8)
    expected = -probabilities.gather(1, target[:, None]).mean()
    assert F.nll_loss(probabilities, target).item() == pytest.approx(expected.item())
    assert F.nll_loss(torch.eye(10), torch.arange(10)).item() == -1


def test_sigmoid_before_bce_with_logits_lifts_the_floor() -> None:
    assert F.binary_cross_entropy_with_logits(torch.ones(1), torch.ones(1)).item() == pytest.approx(0.313, abs=5e-4)
    assert F.binary_cross_entropy_with_logits(torch.zeros(1), torch.zeros(1)).item() == pytest.approx(0.693, abs=5e-4)


def test_sigmoid_before_bce_with_logits_shrinks_the_gradient_five_times() -> None:
    logits, target = torch.randn(4096, requires_grad=True), torch.randint(2, (4096,)).float()
    right = torch.autograd.grad(F.binary_cross_entropy_with_logits(logits, target), logits)[0].norm()
    twice = torch.autograd.grad(F.binary_cross_entropy_with_logits(logits.sigmoid(), target), logits)[0].norm()
    assert (right / twice).item() == pytest.approx(4.9, rel=0.05)


@pytest.mark.parametrize(
    ("crush", "low", "high"),
    [
        (lambda x: torch.sigmoid(torch.relu(x)), 0.5, 1.0),
        (lambda x: torch.sigmoid(torch.sigmoid(x)), 0.5, 0.7311),
        (lambda x: torch.sigmoid(torch.tanh(x)), 0.2689, 0.7311),
        (lambda x: torch.tanh(torch.tanh(x)), -0.7616, 0.7616),
        (lambda x: F.softplus(torch.relu(x)), 0.6931, 1000.0),
    ],
    ids=["relu-sigmoid", "sigmoid-sigmoid", "tanh-sigmoid", "tanh-tanh", "relu-softplus"],
)
def test_range_left_by_two_activations(crush: Callable[[torch.Tensor], torch.Tensor], low: float, high: float) -> None:
    values = crush(torch.linspace(-1000, 1000, 100_001))
    assert (values.min().item(), values.max().item()) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("classes", "low", "high"), [(2, 0.2689, 0.7311), (10, 0.0853, 0.2320), (1000, 0.000998, 0.002713)])
def test_two_softmaxes_leave_little_between_the_surest_and_the_least_sure(classes: int, low: float, high: float) -> None:
    twice = torch.eye(classes, dtype=torch.float64).softmax(-1)
    assert twice.max().item() == pytest.approx(high, rel=2e-3)
    assert twice.min().item() == pytest.approx(low, rel=2e-3)


def depth_ratio(
    activation: Callable[[torch.Tensor], torch.Tensor],
    depth: int,
    norm: type[nn.Module] | None = None,
    *,
    xavier: float | None = None,
    residual: bool = False,
) -> float:
    """Weight gradient of the first of ``depth`` layers of width 128 over that of the output layer; median of three nets."""
    ratios = []
    for seed in range(3):
        torch.manual_seed(seed)
        layers, head = [nn.Linear(128, 128) for _ in range(depth)], nn.Linear(128, 10)
        hidden = torch.randn(256, 128)
        for layer in layers:
            if xavier is not None:
                nn.init.xavier_uniform_(layer.weight, xavier)
            out = layer(hidden)
            out = activation(out if norm is None else norm(128)(out))
            hidden = hidden + out if residual else out
        F.cross_entropy(head(hidden), torch.randint(10, (256,))).backward()
        ratios.append(first_to_last([layers[0], head]))
    return statistics.median(ratios)


def first_to_last(layers: Sequence[nn.Linear | nn.Conv2d]) -> float:
    """Norm of the first layer's weight gradient over the last one's."""
    first, last = layers[0].weight.grad, layers[-1].weight.grad
    assert first is not None
    assert last is not None
    return (first.norm() / last.norm()).item()


@pytest.mark.parametrize(
    ("activation", "depth", "norm", "low", "high"),
    [
        (torch.sigmoid, 3, None, 1e-3, 1e-2),
        (torch.sigmoid, 4, None, 1e-4, 1e-3),
        (torch.sigmoid, 5, None, 1e-5, 1e-3),
        (torch.sigmoid, 10, None, 1e-10, 1e-7),
        (torch.sigmoid, 10, nn.BatchNorm1d, 0.1, 1),
        (torch.sigmoid, 4, nn.LayerNorm, 5e-3, 0.05),
        (torch.sigmoid, 8, nn.LayerNorm, 1e-4, 1e-3),
        (torch.sigmoid, 10, nn.LayerNorm, 1e-5, 1e-3),
        (F.hardsigmoid, 4, None, 1e-5, 1e-3),
        (torch.tanh, 5, None, 0.3, 1.5),
        (torch.tanh, 10, None, 0.01, 0.1),
        (torch.tanh, 18, None, 1e-5, 1e-3),
        (torch.tanh, 20, nn.BatchNorm1d, 0.5, 20),
        (torch.tanh, 20, nn.LayerNorm, 0.5, 20),
        (F.softsign, 18, None, 1e-5, 1e-3),
    ],
)
def test_gradient_that_reaches_the_first_of_many_saturating_layers(
    activation: Callable[[torch.Tensor], torch.Tensor], depth: int, norm: type[nn.Module] | None, low: float, high: float
) -> None:
    assert low < depth_ratio(activation, depth, norm) < high


def test_four_sigmoids_starve_the_classic_lenet() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    F.cross_entropy(net(torch.randn(64, 1, 28, 28)), torch.randint(10, (64,))).backward()
    assert first_to_last([layer for layer in net if isinstance(layer, nn.Linear | nn.Conv2d)]) < 1e-3


def test_xavier_initialisation_repairs_tanh_but_not_sigmoid() -> None:
    assert 0.5 < depth_ratio(torch.tanh, 20, xavier=5 / 3) < 20
    assert depth_ratio(torch.sigmoid, 10, xavier=1.0) < 1e-4


def test_relu_on_the_logits_silences_half_of_them() -> None:
    with torch.no_grad():
        logits = torch.relu(nn.Linear(64, 10)(torch.randn(4096, 64)))
    assert (logits == 0).double().mean().item() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("classes", "tanh", "sigmoid"), [(10, 0.80, 1.46), (100, 2.67, 3.62), (1000, 4.91, 5.91)])
def test_loss_of_a_perfect_classifier_behind_a_squashing_activation(classes: int, tanh: float, sigmoid: float) -> None:
    surest = torch.eye(classes) * 2e4 - 1e4
    target = torch.arange(classes)
    assert F.cross_entropy(torch.tanh(surest), target).item() == pytest.approx(tanh, abs=0.005)
    assert F.cross_entropy(torch.sigmoid(surest), target).item() == pytest.approx(sigmoid, abs=0.005)


def test_relu_on_a_regression_output_leaves_half_of_the_variance() -> None:
    target = torch.randn(100_000)
    assert F.mse_loss(target.clamp(min=0), target).item() == pytest.approx(0.5, abs=0.01)


def statistics_in_eval(*, shared: bool, seed: int) -> list[tuple[float, float]]:
    """Variance and largest channel mean behind each of two convolutions, in eval mode, after 100 training passes."""
    torch.manual_seed(seed)
    first, second = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.Conv2d(16, 16, 3, padding=1, bias=False)
    norm = nn.BatchNorm2d(16)
    other = norm if shared else nn.BatchNorm2d(16)
    with torch.no_grad():
        for _ in range(100):
            other(second(torch.relu(norm(first(torch.randn(8, 3, 16, 16))))))
        norm.eval()
        other.eval()
        hidden = norm(first(torch.randn(64, 3, 16, 16)))
        out = other(second(torch.relu(hidden)))
    return [(values.var().item(), values.mean((0, 2, 3)).abs().max().item()) for values in (hidden, out)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_batch_norm_behind_two_layers_fits_neither(seed: int) -> None:
    apart, mixed = statistics_in_eval(shared=False, seed=seed), statistics_in_eval(shared=True, seed=seed)
    assert all(variance == pytest.approx(1, abs=0.05) and mean < 0.1 for variance, mean in apart)
    assert mixed[0][0] == pytest.approx(1.5, abs=0.15)
    assert all(mean > 0.35 for _, mean in mixed)


def test_a_residual_sum_keeps_the_gradient_of_sigmoid_layers() -> None:
    assert depth_ratio(torch.sigmoid, 10, residual=True) > 1e-3


def test_two_linear_layers_are_one() -> None:
    inner, outer = nn.Linear(64, 128).double(), nn.Linear(128, 10).double()
    x = torch.randn(32, 64, dtype=torch.float64)
    single = F.linear(x, outer.weight @ inner.weight, outer.weight @ inner.bias + outer.bias)
    assert torch.allclose(outer(inner(x)), single)
    assert sum(p.numel() for p in (*inner.parameters(), *outer.parameters())) == 9610
    assert sum(p.numel() for p in nn.Linear(64, 10).parameters()) == 650
