"""Recorded steps, and what goes wrong in them."""

import math
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.errors import ProbeError, UsageError
from normadvisor.probe.recording.recorder import Recorder
from normadvisor.types import RunContext


def data(count=4, size=8):
    generator = torch.Generator().manual_seed(5)
    return [(torch.randn(size, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator)) for _ in range(count)]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", lambda ps: torch.optim.SGD(ps, 0.1)), ("momentum", lambda ps: torch.optim.SGD(ps, 0.1, momentum=0.9)),
        ("adam", lambda ps: torch.optim.Adam(ps, 0.1)), ("adamw", lambda ps: torch.optim.AdamW(ps, 0.1)),
        ("rmsprop", lambda ps: torch.optim.RMSprop(ps, 0.1)),
    ],
)  # fmt: skip
def test_steps_are_those_of_a_training_loop(probe, name, make):
    """Losses and gradient norms against a loop written here; the fifth step takes the first batch again."""
    batches = data()
    measured = probe(net(), batches=batches, loss_fn=F.cross_entropy, options={"steps": 5, "optimizer": name, "lr": 0.1})
    model = net()
    optimizer = make(model.parameters())
    losses, norms = [], []
    for number in range(5):
        x, y = batches[number % 4]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        losses.append(float(loss.detach()))
        norms.append(math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters())))
        optimizer.step()
    assert list(measured.series["loss"]) == pytest.approx(losses, rel=1e-5)
    assert list(measured.series["grad_norm"]) == pytest.approx(norms, rel=1e-5)
    assert (measured.setup["optimizer"], measured.setup["lr"], measured.facts["own_optimizer"]) == (name, 0.1, True)
    assert measured.facts["initial_loss"] == measured.series["loss"][0]
    assert len(measured.series["seconds"]) == measured.setup["steps"] == measured.steps == 5


def test_the_user_s_optimizer_steps_and_is_put_back(probe):
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    x, y = data(1)[0]
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: {key: value.clone() for key, value in held.items()} for name, held in optimizer.state_dict()["state"].items()}
    measured = probe(model, batches=data(), loss_fn=F.cross_entropy, optimizer=optimizer)
    after = optimizer.state_dict()["state"]
    assert measured.setup["optimizer"] == "Adam"
    assert (measured.setup["lr"], measured.facts["own_optimizer"], measured.facts["restored"]) == (0.05, True, True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(after[name][key], value) for name, held in state.items() for key, value in held.items())


def test_the_default_optimizer_is_said_and_is_not_the_user_s(probe):
    measured = probe(net(), (2, 6))
    assert "optimizer: adamw with learning rate 1e-4, because none was given" in measured.notes
    assert measured.facts["own_optimizer"] is False


def test_sparse_gradients_get_an_optimizer_that_takes_them(probe):
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.EmbeddingBag(50, 8, sparse=True), nn.Linear(8, 3)

        def forward(self, ids):
            return self.head(self.table(ids))

    batches = [(torch.randint(0, 50, (8, 4)), torch.randint(0, 3, (8,))) for _ in range(4)]
    measured = probe(Bag(), batches=batches, options={"static_only": False})
    assert "optimizer: sgd with learning rate 0.01, because none was given and some gradients are sparse" in measured.notes
    assert measured.facts["overfit_last"] < measured.facts["overfit_first"]


class Breaks(nn.Module):
    """Gives numbers that are not finite from its third pass in train mode on."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(6, 8), nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 3)
        self.value = value
        self.limit = 1e30

    def forward(self, x):
        hidden = self.first(x)
        if x.abs().max() > self.limit:
            hidden = hidden * self.value
        return self.last(self.inner(hidden))


def test_the_first_layer_that_is_not_finite_is_named(probe):
    batches = data()
    batches[2][0][0, 0] = 100.0
    model = Breaks(float("nan"))
    model.limit = 50.0
    measured = probe(model, batches=batches, loss_fn=F.cross_entropy, options={"steps": 4})
    facts = measured.facts
    assert (facts["nonfinite_step"], facts["nonfinite_layer"], facts["nonfinite_input"]) == (2, "inner.0", False)
    assert len(measured.series["loss"]) == 3
    assert math.isnan(measured.series["loss"][2])
    assert "step 3 was not finite, so no further step was run" in measured.notes
    assert facts["restored"] is True


def test_data_that_is_not_finite_is_told(probe):
    batches = data()
    batches[1][0][3, 2] = float("nan")
    facts = probe(net(), batches=batches, loss_fn=F.cross_entropy).facts
    assert (facts["nonfinite_step"], facts["nonfinite_layer"], facts["nonfinite_input"]) == (1, "0", True)


def test_a_loss_that_is_not_finite_while_all_layers_are(probe):
    measured = probe(net(), batches=data(), loss_fn=lambda output, target: F.cross_entropy(output, target) / 0.0)
    assert measured.facts["nonfinite_step"] == 0
    assert measured.missing["nonfinite_layer"] == "the outputs of all layers were finite in that step: the loss or a gradient was not"
    assert measured.missing["train_eval_gap"] == "the first step was not finite already"


def test_a_gradient_that_is_not_finite_ends_the_steps(probe):
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(6))

        def forward(self, x):
            return (x * self.weight).square().sum(1).sqrt()  # the slope of a root at 0 is infinite

    measured = probe(Root(), batches=[x for x, _ in data()], loss_fn=lambda output: output.mean())
    assert (measured.facts["nonfinite_step"], measured.series["loss"]) == (0, (0.0,))


def test_masked_positions_do_not_count_as_the_cause(probe):
    class Masked(nn.Module):
        def forward(self, x):
            return x.masked_fill(torch.tensor([True] + [False] * 15), -torch.inf)

    model = nn.Sequential(nn.Linear(6, 16), Masked(), nn.Softmax(1), nn.Linear(16, 3))
    with torch.no_grad():
        model[3].weight[0, 0] = torch.inf
    measured = probe(model, batches=data(), loss_fn=F.cross_entropy)
    assert measured.facts["nonfinite_layer"] == "3"


class Hungry(nn.Module):
    """Runs out of memory above a number of samples."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.most = most

    def forward(self, x):
        if len(x) > self.most:
            message = "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."
            raise RuntimeError(message)
        return self.head(x)


def test_batches_are_halved_until_they_fit(probe):
    measured = probe(Hungry(9), (2, 6), options={"batch_size": 32})
    assert (measured.setup["batch_size"], measured.facts["batch_given"]) == (8, False)
    assert measured.notes[:2] == (
        "memory ran out with 32 samples: the batch was halved to 16", "memory ran out with 16 samples: the batch was halved to 8",
    )  # fmt: skip


def test_the_user_s_batches_are_halved_too(probe):
    measured = probe(Hungry(4), batches=data(size=16), loss_fn=F.cross_entropy)
    assert (measured.setup["batch_size"], measured.facts["restored"]) == (4, True)


def test_drawn_batches_that_can_never_fit_are_not_even_drawn(probe, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * 24 * 100))
    measured = probe(net(), (2, 6), options={"batch_size": 2**45})
    assert measured.setup["batch_size"] == 64
    assert measured.notes[0] == f"memory ran out with {2**45} samples: the batch was halved to {2**44}"


def test_batches_that_take_more_memory_than_allowed_are_halved(probe, monkeypatch):
    peaks = iter([100.0, 900.0, 900.0, 900.0])
    monkeypatch.setattr(sys.modules["normadvisor.probe.running.run"], "process_peak", lambda _device: next(peaks))
    measured = probe(net(), (2, 6), options={"batch_size": 64, "memory": 500})
    assert (measured.setup["batch_size"], measured.notes[0]) == (32, "memory ran out with 64 samples: the batch was halved to 32")


def test_a_sample_that_does_not_fit_is_told(probe):
    model = Hungry(0)
    with pytest.raises(ProbeError) as caught:
        probe(model, (2, 6))
    assert caught.value.message == "memory ran out with a single sample"
    assert model.training is True


def test_memory_that_runs_out_in_a_later_step_begins_anew(probe):
    class Late(Hungry):
        passes = 0

        def forward(self, x):
            Late.passes += 1
            return super().forward(x) if Late.passes > 2 else self.head(x)

    measured = probe(Late(4), batches=data(size=8), loss_fn=F.cross_entropy)
    assert (measured.setup["batch_size"], len(measured.series["loss"])) == (4, 2)


def test_a_batch_size_that_forward_does_not_take(probe):
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            return self.head(x.view(2, 6))

    measured = probe(Fixed(), (2, 6))
    assert measured.setup["batch_size"] == 2
    assert measured.notes[0].startswith(
        "forward does not take 32 samples, so it was run with the 2 of its inputs: the forward pass in train"
    )


def test_models_without_parameters_are_run_forward(probe):
    measured = probe(nn.Sequential(nn.ReLU(), nn.Tanh()), (2, 6))
    assert measured.notes[0] == "no gradient: the model has no parameters"
    assert (measured.facts["differentiable"], measured.setup["optimizer"], len(measured.series["loss"])) == (False, None, 2)
    assert measured.missing["noise_scale"] == "the loss does not depend on a trainable parameter"


def test_frozen_models_are_run_forward(probe):
    model = net().requires_grad_(False)
    measured = probe(model, (2, 6))
    assert measured.notes[0] == "no gradient: all parameters are frozen"
    assert {layer.facts["frozen"] for layer in measured.layers if layer.parameters} == {True}
    assert not any(p.requires_grad for p in model.parameters())


def test_outputs_without_gradient_are_told(probe):
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            return self.head(x).detach()

    measured = probe(Detached(), (2, 6))
    words = "no gradient: the loss does not depend on any trainable parameter: forward runs without gradients, or detaches its output"
    assert measured.notes[0] == words
    assert (measured.facts["differentiable"], [layer.facts["no_gradient"] for layer in measured.layers]) == (False, [True])


def test_a_forward_pass_that_fails_is_told_with_module_and_line(probe):
    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(7, 3)

        def forward(self, x):
            return self.head(x)

    with pytest.raises(ProbeError) as caught:
        probe(Wrong(), batches=[torch.randn(4, 6)])
    assert caught.value.message.startswith("the forward pass in train mode failed: head: Linear(7, 3) takes ...x7 and got 4x6")
    assert caught.value.location.path == __file__


def test_a_backward_pass_that_fails_is_told(probe):
    class Clobbers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            hidden = self.head(x).exp()
            return (hidden * hidden).sum(1), hidden.add_(1.0)

    with pytest.raises(ProbeError) as caught:
        probe(Clobbers(), batches=[torch.randn(4, 6)], loss_fn=lambda output: output[0].sum())
    assert caught.value.message.startswith("the backward pass failed: RuntimeError: one of the variables needed for gradient computation")


def test_an_interrupt_leaves_the_model_as_it_was(probe, monkeypatch):
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    real = Recorder.end_step

    def interrupted(self):
        real(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "end_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        probe(model, (2, 6))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_steps_that_do_not_fit_are_left_out_and_said(probe):
    measured = probe(net(), (2, 6), options={"steps": 50, "budget": 1e-6})
    assert (len(measured.series["loss"]), measured.setup["batch_size"]) == (1, 2)
    assert "1 of 50 steps were run: more did not fit into 1e-06 s" in measured.notes
    assert "batches of 2 samples: a step with 32 would take too much of 1e-06 s" in measured.notes


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)])
def test_precisions_are_run_and_put_back(probe, precision, dtype):
    seen = []
    model = net()
    model[0].register_forward_hook(lambda module, args, output: seen.append((module.weight.dtype, args[0].dtype, output.dtype)))
    measured = probe(model, (2, 6), options={"precision": precision})
    assert set(seen) == {(dtype, dtype, dtype)}
    assert (measured.setup["precision"], measured.facts["restored"]) == (precision, True)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_amp_on_a_cpu_is_bfloat16(probe):
    seen = set()
    model = net()
    model[0].register_forward_hook(lambda module, args, output: seen.add((module.weight.dtype, output.dtype)))
    measured = probe(model, (2, 6), context=RunContext(precision="amp"))
    assert seen == {(torch.float32, torch.bfloat16)}
    assert "amp on cpu is bfloat16, which needs no loss scale" in measured.notes


def test_models_in_float64_get_inputs_in_float64(probe):
    measured = probe(net().double(), (2, 6))
    assert (measured.setup["precision"], measured.setup["inputs"]) == ("fp64", "32x6:float64")


@pytest.mark.parametrize("name", ["adamw", "adam", "rmsprop"])
def test_healthy_weights_in_float16_stay_finite(probe, name):
    measured = probe(net(), (2, 6), options={"precision": "fp16", "optimizer": name, "steps": 3, "static_only": False})
    assert (len(measured.series["loss"]), measured.facts.get("nonfinite_step")) == (3, None)
    assert all(math.isfinite(value) for value in measured.curves["overfit"])


def test_an_optimizer_whose_steps_compute_the_loss_is_refused(probe):
    model = net()
    with pytest.raises(UsageError, match="the steps of LBFGS compute the loss several times, and a probe's steps compute it once"):
        probe(model, (2, 6), optimizer=torch.optim.LBFGS(model.parameters()))
