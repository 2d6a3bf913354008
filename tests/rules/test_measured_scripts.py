"""The numbers that the rules on scripts quote, measured again."""

from __future__ import annotations

import inspect
import math
import statistics
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _one_seed() -> Iterator[None]:
    """Draw the same numbers in every order of the tests, without touching the generator of other tests."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip


def moved_by_peers(seed: int, *, train: bool) -> float:
    """How far the output for one image moves, relative to its size, when the seven others of its batch come from elsewhere."""
    torch.manual_seed(seed)
    net, image = small_net(), torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        for _ in range(50):
            net(torch.randn(32, 3, 16, 16))
        net.train(train)
        one = net(torch.cat([image, torch.randn(7, 3, 16, 16)]))[0]
        other = net(torch.cat([image, torch.randn(7, 3, 16, 16) * 2 + 1]))[0]
    return ((one - other).norm() / one.norm()).item()


def test_na401_in_train_mode_an_output_depends_on_its_batch() -> None:
    assert statistics.mean(moved_by_peers(seed, train=True) for seed in range(10)) == pytest.approx(0.53, abs=0.1)
    assert max(moved_by_peers(seed, train=False) for seed in range(10)) < 1e-5


def test_na401_two_predictions_with_dropout_differ_by_as_much_as_they_are() -> None:
    net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10))
    with torch.no_grad():
        x = torch.randn(64, 256)
        one, other = net(x), net(x)
    assert ((one - other).norm() / one.norm()).item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_na401_na404_statistics_move_without_gradients(guard: Callable[[], torch.no_grad]) -> None:
    norm, x = nn.BatchNorm2d(8), torch.randn(4, 8, 8, 8) * 3 + 2
    with guard():
        for _ in range(44):
            norm(x)
    assert (norm.running_mean / x.mean((0, 2, 3))).mean().item() == pytest.approx(0.99, abs=0.001)


def test_na402_na405_in_eval_mode_nothing_of_the_norm_moves_and_nothing_is_dropped() -> None:
    net = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 4)).eval()
    norm = net[1]
    before = (norm.running_mean.clone(), norm.running_var.clone())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(net(torch.randn(32, 16)), torch.randint(4, (32,))).backward()
        optimizer.step()
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])
    hidden = torch.randn(8, 16)
    assert torch.equal(net[2](hidden), hidden)


@pytest.mark.filterwarnings("ignore")  # the tracer remarks on sizes read in Python
def test_na403_a_trace_keeps_the_mode_it_was_made_in() -> None:
    net, example, x = small_net(), torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    traced = torch.jit.trace(net, example, check_trace=False)
    traced.eval()
    net.eval()
    assert not torch.allclose(traced(x), net(x), atol=1e-3)
    dropping = torch.jit.trace(nn.Dropout(0.5), torch.ones(1000), check_trace=False)
    dropping.eval()
    assert (dropping(torch.ones(1000)) == 0).any()


def test_na403_a_script_keeps_both_modes() -> None:
    net, x = small_net(), torch.randn(4, 3, 8, 8)
    scripted = torch.jit.script(net)
    scripted.eval()
    net.eval()
    assert torch.allclose(scripted(x), net(x), atol=1e-5)


def test_na403_an_exported_program_keeps_dropout_on() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    calls = [node for node in torch.export.export(net, (torch.ones(2, 4),)).graph.nodes if "dropout" in str(node.target)]
    assert [node.args[-1] for node in calls] == [True]


def test_na403_the_newer_onnx_exporter_is_the_default() -> None:
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    default = inspect.signature(torch.onnx.export).parameters["dynamo"].default
    assert default is (version >= (2, 9))


def test_na406_train_reaches_layers_that_were_frozen() -> None:
    net = small_net()
    net[1].eval()
    assert net.train()[1].training


@pytest.mark.parametrize(("samples", "scatter"), [(4, 0.50), (32, 0.18)])
def test_na203_scatter_of_a_mean(samples: int, scatter: float) -> None:
    assert torch.randn(100_000, samples).mean(1).std().item() == pytest.approx(scatter, abs=0.005)


def leak(norm: Callable[[int], nn.Module], seed: int) -> tuple[float, float]:
    """Share of the other samples in the gradient of one score, and the error of the summed scores' gradient at that sample."""
    torch.manual_seed(seed)
    critic = nn.Sequential(nn.Linear(16, 64), norm(64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    x = torch.randn(32, 16, requires_grad=True)
    (summed,) = torch.autograd.grad(critic(x).sum(), x)
    (single,) = torch.autograd.grad(critic(x)[0].sum(), x)
    return (single[1:].norm() / single.norm()).item(), ((summed[0] - single[0]).norm() / single[0].norm()).item()


def test_na204_batch_norm_mixes_the_gradients_of_samples() -> None:
    shares, errors = zip(*(leak(nn.BatchNorm1d, seed) for seed in range(10)), strict=True)
    assert statistics.mean(shares) == pytest.approx(0.25, abs=0.03)
    assert statistics.mean(errors) == pytest.approx(0.95, abs=0.03)
    assert max(max(leak(nn.LayerNorm, seed)) for seed in range(3)) < 1e-6


def test_na210_frozen_parameters_do_not_keep_statistics() -> None:
    norm, x = nn.BatchNorm2d(8).requires_grad_(requires_grad=False), torch.randn(4, 8, 8, 8) * 3 + 2
    for _ in range(44):
        norm(x)
    assert (norm.running_mean / x.mean((0, 2, 3))).mean().item() == pytest.approx(0.99, abs=0.001)


def accumulated_error(norm: Callable[[int], nn.Module], parts: int, seed: int) -> float:
    """Difference of the gradient accumulated over parts of a batch from that of the whole, relative to the latter."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(16, 64, bias=False), norm(64), nn.ReLU(), nn.Linear(64, 10))
    x, y = torch.randn(32, 16), torch.randint(10, (32,))

    def gradient(number: int) -> torch.Tensor:
        net.zero_grad()
        for inputs, labels in zip(x.chunk(number), y.chunk(number), strict=True):
            (F.cross_entropy(net(inputs), labels) / number).backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    whole = gradient(1)
    return ((whole - gradient(parts)).norm() / whole.norm()).item()


@pytest.mark.parametrize(("parts", "error"), [(2, 0.27), (4, 0.45), (8, 0.72)])
def test_na211_accumulated_gradients_are_not_those_of_the_whole_batch(parts: int, error: float) -> None:
    assert statistics.mean(accumulated_error(nn.BatchNorm1d, parts, seed) for seed in range(10)) == pytest.approx(error, abs=0.03)
    assert accumulated_error(nn.LayerNorm, parts, 0) < 1e-6


def test_na202_one_sample_raises() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        nn.BatchNorm1d(4)(torch.randn(1, 4))


def test_na509_functional_dropout_ignores_eval() -> None:
    class Functional(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(x)

    class Built(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.Dropout(0.5)(x)

    for net in (Functional().eval(), Built().eval()):
        assert (net(torch.ones(100_000)) == 0).double().mean().item() == pytest.approx(0.5, abs=0.01)
    x = torch.randn(100)
    assert torch.equal(F.alpha_dropout(x), x)
    assert torch.equal(F.feature_alpha_dropout(x), x)


def trained(value: float) -> tuple[nn.Sequential, float]:
    """A net whose weights began with one constant, after 200 steps, and its loss."""
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.constant_(layer.weight, value)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = torch.randn(256, 16), torch.randint(10, (256,))
    loss = torch.zeros(())
    for _ in range(200):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    return net, loss.item()


def test_na505_units_that_begin_alike_stay_alike() -> None:
    net, _ = trained(0.1)
    weight = net[0].weight
    assert (weight - weight[0]).abs().max().item() < 1e-6
    assert (weight - 0.1).abs().max().item() > 1e-3


def test_na505_from_zeros_no_weight_learns() -> None:
    net, loss = trained(0.0)
    assert all(layer.weight.grad.abs().max().item() == 0 for layer in net if isinstance(layer, nn.Linear))
    assert net[4].bias.grad.abs().max().item() > 0
    assert loss == pytest.approx(math.log(10), abs=0.05)


def test_na508_a_scale_without_gradient_shrinks() -> None:
    scale = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([scale], lr=1e-3, weight_decay=0.05)
    scale.grad = torch.zeros(1)
    for _ in range(10_000):
        optimizer.step()
    assert scale.item() == pytest.approx(0.61, abs=0.005)
