"""Every number of a step against an independent computation in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.probe.recording.batch_statistics import BatchStatistics


class _Net(nn.Module):
    """A bit of everything whose numbers can be computed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.act = nn.ReLU(inplace=True)
        self.mid = nn.Conv2d(16, 24, 3)
        self.squash = nn.Tanh()
        self.head = nn.Linear(24, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.act(self.norm(self.stem(images)))
        found = self.squash(self.mid(found))
        return self.head(found.mean((2, 3)))


def _reference(model: nn.Module, loss: Callable[[nn.Module], torch.Tensor]) -> dict[str, dict[str, float]]:
    """The same numbers, from copies of every output and gradient in float64."""
    model = model.double()
    seen: dict[str, torch.Tensor] = {}
    gradients: dict[str, torch.Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if name:

            def keep(_: nn.Module, __: Any, output: torch.Tensor, name: str = name) -> None:
                seen[name] = output.detach().clone()
                output.register_hook(lambda gradient: gradients.__setitem__(name, gradient.clone()))

            handles.append(module.register_forward_hook(keep))
    model.zero_grad()
    loss(model).backward()
    for handle in handles:
        handle.remove()
    found: dict[str, dict[str, float]] = {}
    for name, module in model.named_modules():
        if not name:
            continue
        output, gradient = seen[name], gradients[name]
        numbers = {
            "act_mean": float(output.mean()),
            "act_std": float(output.std(correction=0)),
            "act_abs_max": float(output.abs().max()),
            "zero_share": float((output == 0).double().mean()),
            "nonfinite": 0.0,
            "act_grad_norm": float(gradient.norm()),
            "act_grad_rms": float(gradient.square().mean().sqrt()),
        }
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d | nn.GroupNorm | nn.LayerNorm):
            numbers["sample_std"] = math.sqrt(float(output.var(0).mean()))
        own = list(module.parameters(recurse=False))
        if own:
            both = torch.cat([parameter.grad.flatten() for parameter in own])
            numbers |= {
                "grad_norm": float(both.norm()),
                "grad_rms": float(both.square().mean().sqrt()),
                "weight_norm": float(torch.cat([parameter.detach().flatten() for parameter in own]).norm()),
                "grad_nonfinite": 0.0,
                "update_ratio": 0.0,
            }
            matrices = [parameter.grad.flatten() for parameter in own if parameter.dim() > 1]
            if matrices:
                numbers["weight_grad_norm"] = float(torch.cat(matrices).norm())
        found[name] = numbers
    return found


def _losses(size: int = 12) -> tuple[Callable[[nn.Module], torch.Tensor], Callable[[nn.Module], torch.Tensor]]:
    images, labels = torch.randn(6, 3, size, size + 1), torch.randint(0, 10, (6,))
    return (lambda model: F.cross_entropy(model(images), labels), lambda model: F.cross_entropy(model(images.double()), labels))


@pytest.mark.parametrize("exact", [False, True])
def test_a_float32_step_agrees_with_float64_autograd(record, exact: bool):
    model = _Net()
    # Of small outputs everything is looked at in any case.
    single, double = _losses(33 if exact else 12)
    recorded = record(model, single, exact=exact)
    measured = {name: {key: values[0] for key, values in layer.series.items()} for name, layer in recorded.layers.items()}
    before = {key: value.clone() for key, value in _Net().state_dict().items() if "running" in key or "num" in key}
    model.load_state_dict({**model.state_dict(), **before})
    expected = _reference(model, double)
    own = {"bn_mean_gap", "bn_var_gap", "dead_share", "saturated_share"}
    found = {f"{name} {key}": value for name, numbers in measured.items() for key, value in numbers.items() if key not in own}
    assert found == {
        f"{name} {key}": pytest.approx(value, rel=1e-5, abs=1e-6 if key in {"act_mean", "zero_share"} else 0.0)
        for name, numbers in expected.items()
        for key, value in numbers.items()
    }


def test_gradient_norms_of_a_large_layer_agree_with_float64_to_a_hundred_thousandth(record):
    model = nn.Sequential(nn.Linear(3000, 2500), nn.Tanh(), nn.Linear(2500, 3))
    inputs = torch.randn(16, 3000) + 1
    recorded = record(model, lambda model: model(inputs).square().mean())
    found = recorded.all("grad_norm")
    double = model.double()
    double.zero_grad()
    double(inputs.double()).square().mean().backward()
    expected = {
        name: math.sqrt(sum(float(parameter.grad.square().sum()) for parameter in double[int(name)].parameters())) for name in ("0", "2")
    }
    assert found == pytest.approx(expected, rel=1e-5)
    assert recorded.recorder.series()["grad_norm"] == (pytest.approx(math.hypot(*expected.values()), rel=1e-5),)


def test_large_outputs_are_sampled_and_close_unless_exact(record):
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 8, 3), nn.Sigmoid())
    images = torch.randn(8, 3, 64, 64)
    outputs: dict[str, torch.Tensor] = {}
    current = images.double()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for name, module in deepcopy(model).double().named_children():
            current = module(current)
            outputs[name] = current
    exact = record(model, lambda model: model(images).mean(), exact=True)
    model.load_state_dict(state)
    sampled = record(model, lambda model: model(images).mean())
    for name, output in outputs.items():
        std = float(output.std(correction=0))
        assert exact.all("act_mean")[name] == pytest.approx(float(output.mean()), abs=1e-6 * std)
        assert exact.all("act_std")[name] == pytest.approx(std, rel=1e-5)
        assert exact.all("zero_share")[name] == pytest.approx(float((output == 0).double().mean()), abs=1e-5)
        assert exact.all("act_abs_max")[name] == pytest.approx(float(output.abs().max()), rel=1e-5)
        assert sampled.all("act_mean")[name] == pytest.approx(float(output.mean()), abs=0.1 * std)
        assert sampled.all("act_std")[name] == pytest.approx(std, rel=0.1)
        assert sampled.all("zero_share")[name] == pytest.approx(float((output == 0).double().mean()), abs=0.05)
        # Extremes regard every value.
        assert sampled.all("act_abs_max")[name] == exact.all("act_abs_max")[name]
        assert sampled.all("act_std")[name] != exact.all("act_std")[name]
        assert sampled.all("act_grad_norm")[name] == pytest.approx(exact.all("act_grad_norm")[name], rel=0.1)
    between = math.sqrt(float(outputs["1"].var(0).mean()))
    assert exact.all("sample_std") == {"1": pytest.approx(between, rel=1e-5)}
    assert sampled.all("sample_std") == {"1": pytest.approx(between, rel=0.15)}
    assert sampled.all("grad_norm") == exact.all("grad_norm")


def test_batch_statistics_against_running_ones(record):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4, momentum=None), nn.BatchNorm2d(4, momentum=0.0), nn.BatchNorm2d(4, track_running_stats=False))
    with torch.no_grad():
        model[1].running_mean.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
        model[1].running_var.copy_(torch.tensor([0.5, 4.0, 1.0, 9.0]))
    images = torch.randn(5, 3, 9, 9) * 2
    running = model[1].running_mean.double().clone(), model[1].running_var.double().clone()
    batch = model[0](images).detach().double()
    mean, variance = batch.mean((0, 2, 3)), batch.var((0, 2, 3))
    recorded = record(model, lambda model: model(images).square().mean())
    expected_mean = math.sqrt(float(((mean - running[0]) ** 2 / (running[1] + 1e-5)).mean()))
    expected_variance = math.sqrt(float((((variance + 1e-5) / (running[1] + 1e-5)).log() ** 2).mean()))
    gaps = recorded.all("bn_mean_gap"), recorded.all("bn_var_gap")
    assert gaps[0]["1"] == pytest.approx(expected_mean, rel=1e-4)
    assert gaps[1]["1"] == pytest.approx(expected_variance, rel=1e-4)
    # The others get normalized batches, which fresh running statistics describe.
    normal = math.log(batch.numel() / 4 / (batch.numel() / 4 - 1))
    assert {name: value for name, value in gaps[0].items() if name != "1"} == {"2": pytest.approx(0, abs=1e-5), "3": pytest.approx(0, abs=1e-5)}
    assert {name: value for name, value in gaps[1].items() if name != "1"} == {name: pytest.approx(normal, rel=2e-2) for name in ("2", "3")}


def test_batch_statistics_in_eval_mode_are_those_of_the_batch(record):
    model = nn.Sequential(nn.BatchNorm1d(3)).eval()
    values = torch.randn(50, 3) * 3 + 2
    recorded = record(model, lambda model: model(values).square().mean())
    mean, variance = values.double().mean(0), values.double().var(0)
    assert recorded.all("bn_mean_gap")["0"] == pytest.approx(math.sqrt(float((mean**2 / (1 + 1e-5)).mean())), rel=1e-4)
    assert recorded.all("bn_var_gap")["0"] == pytest.approx(math.sqrt(float((variance.log() ** 2).mean())), rel=1e-3)


def test_update_ratio_of_every_layer_and_of_all(record):
    model = nn.Sequential(nn.Linear(300, 200), nn.Tanh(), nn.Linear(200, 3))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    inputs = torch.randn(16, 300)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    recorded = record(model, lambda model: model(inputs).square().mean(), optimizer=optimizer)
    change = [float((now.detach() - then).double().square().sum()) for now, then in zip(model.parameters(), before, strict=True)]
    weight = [float(then.double().square().sum()) for then in before]
    expected = {"0": math.sqrt(sum(change[:2]) / sum(weight[:2])), "2": math.sqrt(sum(change[2:]) / sum(weight[2:]))}
    assert recorded.all("update_ratio") == pytest.approx(expected, rel=0.02)
    assert recorded.recorder.series()["update_ratio"] == (pytest.approx(math.sqrt(sum(change) / sum(weight)), rel=0.02),)
    # Small layers are compared whole.
    assert recorded.all("update_ratio")["2"] == pytest.approx(expected["2"], rel=1e-6)


def test_the_loss_scale_is_reported_and_undone(record):
    model = _Net()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    loss, _ = _losses()
    plain = record(model, loss)
    model.load_state_dict(state)
    scaled = record(model, loss, scale=1024.0)
    for key in ("grad_norm", "grad_rms", "weight_grad_norm", "act_grad_norm", "act_grad_rms"):
        assert scaled.all(key) == pytest.approx(plain.all(key), rel=1e-5)
    assert (plain.recorder.series()["loss_scale"], scaled.recorder.series()["loss_scale"]) == ((1.0,), (1024.0,))


def test_a_batch_norm_written_by_hand(record):
    class ByHand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, 4, 1, 1))
            self.register_buffer("running_mean", torch.zeros(1, 4, 1, 1))
            self.register_buffer("running_var", torch.ones(1, 4, 1, 1))

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            variance, mean = torch.var_mean(values, (0, 2, 3), keepdim=True)
            with torch.no_grad():
                self.running_mean.lerp_(mean, 0.5)
                self.running_var.lerp_(variance, 0.5)
            return (values - mean) / (variance + 1e-5).sqrt() * self.weight

    images = torch.randn(5, 4, 9, 9) * 2 + 1
    recorded = record(nn.Sequential(ByHand()), lambda model: model(images).square().mean(), ops={"0": "batch_norm"})
    mean = images.double().mean((0, 2, 3))
    assert recorded.all("bn_mean_gap") == {"0": pytest.approx(math.sqrt(float((mean**2 / (1 + 1e-5)).mean())), rel=1e-4)}
    assert recorded.recorder.notes == ()


def test_numbers_that_cannot_be_had_do_not_take_others_along(record, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> None:
        raise RuntimeError("odd shapes")

    monkeypatch.setattr(BatchStatistics, "reduce", fail)
    recorded = record(nn.Sequential(nn.BatchNorm1d(4)), lambda model: model(torch.randn(5, 4)).square().mean())
    assert (set(recorded.all("act_std")), set(recorded.all("grad_norm")), recorded.all("bn_mean_gap")) == ({"0"}, {"0"}, {})
    assert recorded.recorder.notes == ("Not measured: statistics of batches: odd shapes",)
