from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from normadvisor.errors import UsageError
from normadvisor.probe.recording.layers import find_layers, held_parameters, unwrapped, walk
from normadvisor.probe.recording.recorder import Recorder


def _names(model: nn.Module, ops: dict[str, str | None] | None = None) -> dict[str, str | None]:
    return {layer.name: layer.op for layer in find_layers(unwrapped(model), ops).values()}


def test_layers_hold_parameters_or_are_norms_or_activations():
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(3))
            self.body = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2, affine=False), nn.ReLU(), nn.Dropout(), nn.MaxPool1d(2))

    assert _names(Root()) == {"": None, "body.0": "conv", "body.1": "batch_norm", "body.2": "relu"}


def test_operations_that_a_graph_knows_go_before_those_of_classes():
    model = nn.Sequential(nn.Dropout(), nn.ReLU(), nn.Linear(2, 2))
    assert _names(model, {"0": "gelu", "1": None}) == {"0": "gelu", "2": "linear"}


def test_wrappers_have_no_names():
    model = nn.Sequential(nn.Linear(2, 2), checkpoint_wrapper(nn.Sequential(nn.Linear(2, 2))))
    expected = {"0": "linear", "1.0": "linear"}
    assert _names(model) == expected
    assert _names(nn.DataParallel(model)) == expected
    assert _names(torch.compile(nn.DataParallel(model))) == expected
    assert unwrapped(torch.compile(model)) is model


def test_what_parametrizes_a_weight_belongs_to_its_layer(record):
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), parametrizations.spectral_norm(nn.Linear(4, 2)))
    assert [name for name, _ in walk(model)] == ["", "0", "1"]
    held, _ = held_parameters(find_layers(model))
    assert [(each.layer.name, each.name) for each in held] == [
        ("0", "bias"),
        ("0", "parametrizations.weight.original0"),
        ("0", "parametrizations.weight.original1"),
        ("1", "bias"),
        ("1", "parametrizations.weight.original"),
    ]
    recorded = record(model, lambda model: model(torch.randn(5, 3)).square().mean())
    expected = {name: torch.cat([each.grad.flatten() for each in model[int(name)].parameters()]).norm().item() for name in ("0", "1")}
    assert recorded.all("grad_norm") == pytest.approx(expected, rel=1e-5)
    assert [recorded[name].cls for name in ("0", "1")] == ["Linear", "Linear"]


def test_old_style_weight_norm(record):
    with pytest.warns(FutureWarning):
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)))
    recorded = record(model, lambda model: model(torch.randn(5, 3)).square().mean())
    assert recorded.all("grad_norm")["0"] == pytest.approx(torch.cat([each.grad.flatten() for each in model.parameters()]).norm().item(), rel=1e-5)


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 6)
        self.block = nn.Linear(6, 6)
        self.head = nn.Linear(6, 30, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        found = self.words(words)
        for _ in range(3):
            found = torch.tanh(self.block(found))
        return self.head(found)


def test_tied_weights_count_once_and_shared_modules_as_one_larger_output(record):
    model = _Tied()
    outputs: list[torch.Tensor] = []
    handle = model.block.register_forward_hook(lambda _, __, output: outputs.append(output.detach()))
    recorded = record(model, lambda model: model(torch.arange(30).view(5, 6)).square().mean())
    handle.remove()
    assert [(name, layer.order, layer.calls, layer.parameters) for name, layer in recorded.layers.items()] == [
        ("words", 0, 1, 180),
        ("block", 1, 3, 42),
        ("head", 2, 1, 0),
    ]
    total = sum(float(parameter.grad.double().square().sum()) for parameter in model.parameters())
    assert recorded.recorder.series()["grad_norm"] == (pytest.approx(total**0.5, rel=1e-6),)
    assert recorded["head"].facts == {"tied": "words", "alike_share": 0.0}
    assert "grad_norm" not in recorded["head"].series
    joined = torch.cat(outputs).double()
    assert recorded.all("act_std")["block"] == pytest.approx(joined.std(correction=0).item(), rel=1e-5)
    assert recorded.all("act_mean")["block"] == pytest.approx(joined.mean().item(), abs=1e-6)


def test_weights_count_with_the_layer_that_runs(record):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Embedding(9, 4)
            self.body = nn.ModuleDict({"words": nn.Embedding(9, 4), "head": nn.Linear(4, 9, bias=False)})
            self.body["words"].weight = self.body["head"].weight = self.shared.weight

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.body["head"](self.body["words"](words))

    recorded = record(Net(), lambda model: model(torch.arange(9)).square().mean(), steps=2)
    assert [(name, layer.parameters, layer.calls, layer.facts.get("tied")) for name, layer in recorded.layers.items()] == [
        ("body.words", 36, 1, None),
        ("body.head", 0, 1, "body.words"),
        ("shared", 0, 0, "body.words"),
    ]
    assert len(recorded["body.words"].series["grad_norm"]) == 2


def test_frozen_parameters_and_parts_that_get_no_gradient(record):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.used, self.unused, self.cut = (nn.Linear(4, 4) for _ in range(4))
            self.frozen.requires_grad_(False)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                values = values + self.cut(values)
            return self.used(self.frozen(values))

    recorded = record(Net(), lambda model: model(torch.randn(3, 4)).square().mean(), steps=2)
    found = {name: (layer.calls, layer.trainable, "grad_norm" in layer.series, layer.facts) for name, layer in recorded.layers.items()}
    ratio = recorded["used"].facts["bias_grad_ratio"]
    assert found == {
        "cut": (1, 20, False, {"no_gradient": True, "frozen": False, "alike_share": 0.0}),
        "frozen": (1, 0, False, {"frozen": True, "alike_share": 0.0}),
        "used": (1, 20, True, {"no_gradient": False, "frozen": False, "alike_share": 0.0, "bias_grad_ratio": ratio}),
        "unused": (0, 20, False, {"no_gradient": True, "frozen": False}),
    }
    assert "act_std" in recorded["cut"].series
    assert "act_grad_norm" not in recorded["cut"].series


def test_a_gradient_of_zeros_is_no_gradient(record):
    recorded = record(nn.Sequential(nn.Linear(4, 4)), lambda model: (model(torch.randn(3, 4)) * 0).sum())
    assert recorded["0"].facts["no_gradient"] is True
    assert recorded.all("grad_norm") == {"0": 0.0}


def test_a_bias_before_a_norm_gets_next_to_no_gradient(record):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3))
    recorded = record(model, lambda model: model(torch.randn(4, 3, 9, 9)).square().mean(), steps=2)
    assert recorded["0"].facts["bias_grad_ratio"] < 1e-5
    assert recorded["3"].facts["bias_grad_ratio"] > 1e-2


def test_parameters_that_another_module_uses_stand_behind_it(record):
    model = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 2))
    recorded = record(model, lambda model: model(torch.randn(3, 5, 8)).square().mean())
    assert [(name, layer.calls) for name, layer in recorded.layers.items()] == [
        ("0", 1),
        ("1.self_attn", 1),
        ("1.self_attn.out_proj", 1),
        ("1.norm1", 1),
        ("1.linear1", 1),
        ("1.linear2", 1),
        ("1.norm2", 1),
        ("2", 1),
    ]
    assert recorded["1.self_attn.out_proj"].facts["no_gradient"] is False


def test_lazy_modules(record):
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyBatchNorm1d())
    recorded = record(model, lambda model: model(torch.randn(6, 3)).square().mean(), steps=2)
    assert {name: (layer.cls, layer.parameters, len(layer.series["act_mean"])) for name, layer in recorded.layers.items()} == {
        "0": ("Linear", 16, 2),
        "1": ("ReLU", 0, 2),
        "2": ("BatchNorm1d", 8, 2),
    }


class _Packed(nn.Module):
    """Stands for what torch.ao.nn.quantized holds."""

    __module__ = "torch.ao.nn.quantized.modules.linear"

    def __init__(self) -> None:
        super().__init__()
        self._packed_params: Any = F


def test_quantized_weights_are_refused():
    with pytest.raises(UsageError) as error:
        Recorder(nn.Sequential(nn.Linear(2, 2), _Packed()))
    assert str(error.value) == "Layer '1' holds quantized weights, which have no gradients (probe the model before it is quantized)"
