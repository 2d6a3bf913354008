"""Models that hooks usually stumble over."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class _Blocks(nn.Module):
    """Two blocks, checkpointed in one way, the other, or not."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(inplace=True)) for _ in range(2))
        self.how = how

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found = self.stem(values)
        for block in self.blocks:
            found = block(found) if self.how == "plain" else checkpoint(block, found, use_reentrant=self.how == "reentrant")
        return found


@pytest.mark.parametrize("how", ["reentrant", "non-reentrant"])
def test_checkpointed_parts_count_once(record, how: str):
    inputs = torch.randn(7, 5)
    plain = _Blocks("plain")
    checkpointed = _Blocks(how)
    checkpointed.load_state_dict(plain.state_dict())
    expected = record(plain, lambda model: model(inputs).square().mean())
    found = record(checkpointed, lambda model: model(inputs).square().mean())
    assert {name: (layer.calls, layer.order, dict(layer.series), dict(layer.facts)) for name, layer in found.layers.items()} == {
        name: (
            layer.calls,
            layer.order,
            {key: pytest.approx(values, rel=1e-5, abs=1e-9) for key, values in layer.series.items()},
            {key: pytest.approx(value, rel=0.5, abs=1e-6) if key == "bias_grad_ratio" else value for key, value in layer.facts.items()},
        )
        for name, layer in expected.layers.items()
    }


def test_activations_in_place_leave_the_numbers_of_the_layer_in_front(record):
    inputs = torch.randn(9, 4)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2), nn.Hardtanh())
    other = copy.deepcopy(model)
    other[1].inplace = other[3].inplace = True
    expected = record(model, lambda model: model(inputs).square().mean())
    found = record(other, lambda model: model(inputs).square().mean())
    assert {name: dict(layer.series) for name, layer in found.layers.items()} == {name: dict(layer.series) for name, layer in expected.layers.items()}


@dataclass
class _Output:
    loss: torch.Tensor
    hidden: Any


class _Nested(nn.Module):
    """Outputs of every kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.kind = kind

    def forward(self, values: torch.Tensor) -> Any:
        found = values * self.scale
        return {
            "tuple": (None, torch.arange(3), (found,)),
            "list": [[], [found]],
            "dict": {"ids": torch.arange(3), "loss": found.mean(), "hidden": found},
            "dataclass": _Output(found.mean(), {"last": found}),
        }[self.kind]


class _Around(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner = _Nested(kind)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found = self.inner(values)
        kind = self.inner.kind
        return (
            found[2][0] if kind == "tuple" else found[1][0] if kind == "list" else found["hidden"] if kind == "dict" else found.hidden["last"]
        )


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "dataclass"])
def test_nested_outputs(record, kind: str):
    inputs = torch.randn(5, 4)
    recorded = record(_Around(kind), lambda model: model(inputs).square().sum())
    layer = recorded["inner"]
    assert layer.series["act_std"] == (pytest.approx(inputs.std(correction=0).item(), rel=1e-5),)
    assert layer.series["act_grad_norm"] == (pytest.approx((2 * inputs).norm().item(), rel=1e-5),)


class _Silent(nn.Module):
    """Returns nothing, or whole numbers."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.output = output

    def forward(self, values: torch.Tensor) -> Any:
        self.found = values * self.scale
        return self.output


@pytest.mark.parametrize("output", [None, torch.arange(3), "text", {}, object()])
def test_outputs_without_numbers(record, output: Any):
    model = nn.Sequential(_Silent(output))

    def loss(model: nn.Module) -> torch.Tensor:
        model(torch.ones(2, 4))
        return model[0].found.sum()

    recorded = record(model, loss)
    assert dict(recorded["0"].series) == {
        "grad_norm": (4.0,),
        "grad_rms": (2.0,),
        "grad_nonfinite": (0.0,),
        "weight_norm": (2.0,),
        "update_ratio": (0.0,),
    }
    assert (recorded["0"].calls, recorded.recorder.notes) == (1, ())


def test_sparse_gradients_of_embeddings(record):
    words = torch.tensor([[1, 1, 3], [3, 3, 0]])
    dense = nn.Embedding(10, 4)
    sparse = nn.Embedding(10, 4, sparse=True)
    sparse.load_state_dict(dense.state_dict())
    expected = record(nn.Sequential(dense), lambda model: model(words).square().sum())
    found = record(nn.Sequential(sparse), lambda model: model(words).square().sum(), optimizer=torch.optim.SparseAdam(sparse.parameters()))
    assert found.all("grad_norm") == pytest.approx(expected.all("grad_norm"), rel=1e-6)
    assert sparse.weight.grad.layout is torch.sparse_coo
    assert found.all("update_ratio")["0"] > 0


def test_complex_parameters(record):
    class Spectral(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 5, dtype=torch.cfloat))

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return torch.fft.ifft(torch.fft.fft(values) * self.weight)

    model = nn.Sequential(Spectral())
    recorded = record(model, lambda model: model(torch.randn(2, 3, 5)).abs().square().sum(), optimizer=torch.optim.SGD(model.parameters(), 0.1))
    gradient, weight = model[0].weight.grad, model[0].weight
    assert recorded.all("grad_norm")["0"] == pytest.approx(gradient.abs().norm().item(), rel=1e-5)
    before = weight.detach() + 0.1 * gradient
    assert recorded.all("update_ratio")["0"] == pytest.approx(0.1 * gradient.abs().norm().item() / before.abs().norm().item(), rel=1e-4)
    assert recorded.all("nonfinite") == {"0": 0.0}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(record, dtype: torch.dtype):
    model = nn.Sequential(nn.Linear(40, 80), nn.LayerNorm(80), nn.GELU(), nn.Linear(80, 3)).to(dtype)
    inputs = torch.randn(9, 40, dtype=dtype)
    recorded = record(model, lambda model: model(inputs).square().mean(), optimizer=torch.optim.SGD(model.parameters(), 0.1))
    expected = {
        name: torch.cat([parameter.grad.double().flatten() for parameter in model[int(name)].parameters()]).norm().item() for name in ("0", "1", "3")
    }
    assert recorded.all("grad_norm") == pytest.approx(expected, rel=1e-5)
    assert recorded.recorder.notes == ()
    assert set(recorded["2"].series) == {"act_abs_max", "act_grad_norm", "act_grad_rms", "act_mean", "act_std", "dead_share", "nonfinite", "zero_share"}


def test_autocast_and_a_gradient_scaler(record):
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    inputs = torch.randn(5, 8)

    def loss(model: nn.Module) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(inputs).float().square().mean()

    recorded = record(model, loss, scale=64.0)
    expected = {name: torch.cat([each.grad.flatten() for each in model[int(name)].parameters()]).norm().item() / 64 for name in ("0", "2")}
    assert recorded.all("grad_norm") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cls", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(record, cls: type[nn.Module]):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = cls(4, 6, num_layers=2, batch_first=True), nn.Linear(6, 2)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(values)[0][:, -1])

    recorded = record(Net(), lambda model: model(torch.randn(3, 7, 4)).square().mean())
    assert [(name, layer.calls, layer.units) for name, layer in recorded.layers.items()] == [("rnn", 1, 6), ("head", 1, 2)]
    assert recorded.all("act_grad_norm").keys() == {"rnn", "head"}


def test_a_cell_that_runs_once_per_word(record):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.act = nn.LSTMCell(4, 6), nn.ReLU()

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            state = None
            for word in values.unbind(1):
                state = self.cell(word, state)
            return self.act(state[0])

    recorded = record(Net(), lambda model: model(torch.randn(3, 7, 4)).square().mean())
    assert [(name, layer.calls) for name, layer in recorded.layers.items()] == [("cell", 7), ("act", 1)]


def test_empty_batches(record):
    recorded = record(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), lambda model: model(torch.zeros(0, 3)).sum())
    assert recorded.recorder.notes == ()
    assert {name: sorted(layer.series) for name, layer in recorded.layers.items()} == {
        "0": ["grad_nonfinite", "grad_norm", "grad_rms", "update_ratio", "weight_grad_norm", "weight_norm"],
        "1": [],
    }


def test_values_that_are_not_finite_are_counted_by_layer(record):
    class Log(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act, self.out = nn.Linear(1, 4, bias=False), nn.Tanh(), nn.Linear(4, 2)
            with torch.no_grad():
                self.fc.weight.copy_(torch.tensor([[1.0], [-1.0], [0.0], [2.0]]))

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.out(self.act(self.fc(values).log()))

    recorded = record(Log(), lambda model: model(torch.ones(5, 1)).sum())
    # log(-1) is no number, and log(0) is minus infinity, which tanh makes -1.
    assert recorded.all("nonfinite") == {"fc": 0.0, "act": 5.0, "out": 10.0}
    assert recorded.all("grad_nonfinite")["fc"] > 0
    assert str(recorded.recorder.series()["grad_norm"]) == "(nan,)"


def test_a_compiled_model_runs_eagerly_and_says_so(record):
    inputs = torch.randn(4, 3)
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    compiled = torch.compile(model, backend="eager")
    recorded = record(compiled, lambda model: model(inputs).square().mean())
    plain = record(model, lambda model: model(inputs).square().mean())
    assert {name: dict(layer.series) for name, layer in recorded.layers.items()} == {name: dict(layer.series) for name, layer in plain.layers.items()}
    assert (recorded.recorder.notes, plain.recorder.notes) == (("The compiled model was run eagerly: compiled code has no layers to look at.",), ())
    part = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    part[0].compile(backend="eager")
    assert record(part, lambda model: model(inputs).square().mean()).all("act_std").keys() == {"0", "1"}


def test_data_parallel_and_hooks_of_the_user(record):
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    model[0].register_forward_hook(lambda _, __, output: output * 0 + 2)
    recorded = record(nn.DataParallel(model), lambda model: model(torch.randn(4, 3)).sum())
    assert recorded.all("act_mean") == {"0": 2.0, "1": 2.0}


def test_modules_in_eval_mode(record):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.ReLU()).eval()
    recorded = record(model, lambda model: model(torch.randn(4, 3)).sum())
    assert recorded.all("bn_mean_gap").keys() == {"1"}
    assert [module.training for module in model.modules()] == [False] * 5


def test_several_backward_passes_and_two_inputs(record):
    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Linear(3, 3)

        def forward(self, one: torch.Tensor, *, other: torch.Tensor) -> torch.Tensor:
            return F.cosine_similarity(self.trunk(one), self.trunk(other))

    one, other = torch.randn(4, 3), torch.randn(4, 3)
    recorded = record(Siamese(), lambda model: model(one, other=other).mean())
    assert recorded["trunk"].calls == 2


def test_scripted_parts(record):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and in use
        scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    model = nn.Sequential(scripted, nn.Linear(3, 2))
    recorded = record(model, lambda model: model(torch.randn(4, 3)).sum())
    assert (set(recorded.all("grad_norm")), set(recorded.all("act_std"))) == ({"0.0", "1"}, {"1"})
    assert recorded.recorder.notes == ("Outputs of scripted modules are not measured: they take no hooks. Their gradients are.",)


def test_functions_transformed_by_vmap_are_not_disturbed(record):
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return torch.func.vmap(lambda row: F.relu(self.fc(row)))(values)

    model = Mapped()
    inputs = torch.randn(4, 3)
    recorded = record(model, lambda model: model(inputs).sum())
    expected = torch.cat([each.grad.flatten() for each in model.parameters()]).norm().item()
    assert recorded.all("grad_norm")["fc"] == pytest.approx(expected, rel=1e-5)
    assert recorded.recorder.notes == ("Outputs of fc could not be measured: it runs inside a transform of torch.func",)
