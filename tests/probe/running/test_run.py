"""The whole of a probe: what it gives, and that it leaves no trace."""

import random
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from normadvisor.errors import ProbeError, UsageError
from normadvisor.probe.running import run, warmup
from normadvisor.probe.running.budget import Budget
from normadvisor.probe.running.run import PHASES, probe_model
from normadvisor.targets.inputs import Inputs
from normadvisor.types import CURVES, LAYER_FACTS, LAYER_SERIES, RUN_FACTS, RUN_SERIES, Measurements, ProbeOptions, RunContext

ALL = {"static_only": False}
SHAPE = (2, 3, 16, 16)


def without_time(measured):
    data = measured.to_dict()
    data["series"].pop("seconds")
    data["facts"].pop("peak_memory")
    return data


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(probe, conv_net):
    first, second, other = (probe(conv_net(extra=nn.Dropout), SHAPE, options={**ALL, "seed": seed}) for seed in (0, 0, 1))
    assert without_time(first) == without_time(second)
    assert first.series["loss"] != other.series["loss"]


def test_everything_measured_is_named(probe, conv_net):
    measured = probe(conv_net(), SHAPE, options=ALL, target="model.py:Net")
    assert (measured.target, set(measured.curves)) == ("model.py:Net", set(CURVES))
    assert set(measured.series) <= set(RUN_SERIES)
    assert set(measured.facts) <= set(RUN_FACTS)
    assert set(measured.missing) <= {*RUN_FACTS, *CURVES}
    assert {key for layer in measured.layers for key in layer.series} <= set(LAYER_SERIES)
    assert {key for layer in measured.layers for key in layer.facts} <= set(LAYER_FACTS)
    assert [layer.name for layer in measured.layers] == ["0", "1", "2", "3", "4", "5", "9"]
    assert Measurements.from_dict(measured.to_dict()) == measured


def test_how_it_was_measured_is_said(probe, conv_net):
    measured = probe(conv_net(), SHAPE)
    assert measured.setup == {
        "device": "cpu", "precision": "fp32", "steps": 2, "batch_size": 32, "inputs": "32x3x16x16", "data": "random", "batches": None,
        "loss": "cross_entropy", "optimizer": "adamw", "lr": 1e-4, "seed": 0, "world_size": 1, "torch": torch.__version__,
    }  # fmt: skip
    assert measured.notes == (
        "optimizer: adamw with learning rate 1e-4, because none was given", "loss: cross entropy on 10 random classes",
        "2 of the 3 steps were run that fading gradients and dead units are judged from",
    )  # fmt: skip
    assert (measured.facts["batch_given"], measured.facts["real_data"]) == (False, False)
    assert measured.facts["peak_memory"] > 50


def test_nothing_is_left_behind(probe, conv_net):
    model = conv_net(extra=nn.Dropout)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    model[4].eval()
    model[9].bias.requires_grad_(False)
    hook = model[3].register_forward_hook(lambda *_: None)
    gradient = model[0].weight.grad
    state = {name: (value, value.clone(), value.data_ptr()) for name, value in model.state_dict(keep_vars=True).items()}
    flags = [module.training for module in model.modules()]
    process = (torch.get_rng_state(), random.getstate(), torch.is_grad_enabled(), torch.get_num_threads())
    measured = probe(model, SHAPE, options=ALL)
    assert measured.facts["restored"] is True
    for name, value in model.state_dict(keep_vars=True).items():
        same, copy, address = state[name]
        assert value is same
        assert value.data_ptr() == address
        assert torch.equal(value, copy)
    assert model[0].weight.grad is gradient
    assert torch.equal(gradient, torch.ones_like(gradient))
    assert [p.requires_grad for p in model.parameters()] == [True] * 9 + [False]
    assert [module.training for module in model.modules()] == flags
    assert list(model[3]._forward_hooks) == [hook.id]
    assert sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()) == 1
    assert torch.equal(torch.get_rng_state(), process[0])
    assert (random.getstate(), torch.is_grad_enabled(), torch.get_num_threads()) == process[1:]


def test_models_in_eval_mode_are_trained_and_put_back(probe, conv_net):
    model = conv_net(extra=nn.Dropout).eval()
    measured = probe(model, SHAPE)
    assert measured.facts["train_repeat_gap"] > 0
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("given", [{"batch_size": 6}, {}])
def test_a_batch_size_that_was_said_is_run(probe, conv_net, given):
    context = RunContext() if given else RunContext(batch_size=12, world_size=2)
    measured = probe(conv_net(), SHAPE, options=given, context=context)
    assert (measured.setup["batch_size"], measured.facts["batch_given"]) == (6, True)


def test_inputs_that_were_given_keep_their_batch_size():
    inputs = Inputs((torch.randn(3, 6),), given=True)
    measured = probe_model(nn.Linear(6, 4), ProbeOptions(steps=1, static_only=True), inputs=inputs, context=RunContext())
    assert (measured.setup["batch_size"], measured.facts["batch_given"]) == (3, True)


def test_progress_goes_through_the_phases_in_order(probe, conv_net):
    told = []
    batches = [(torch.randn(8, 3, 16, 16), torch.randint(0, 10, (8,))) for _ in range(5)]
    probe(conv_net(), batches=batches, options=ALL, progress=lambda *now: told.append(now))
    assert tuple(dict.fromkeys(phase for phase, _, _ in told)) == PHASES
    assert all(0 <= done <= total for _, done, total in told)


def test_lazy_models_get_shapes_and_are_lazy_again(probe):
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    measured = probe(model, SHAPE)
    assert [layer.parameters for layer in measured.layers] == [112, 8, 0, 2355]
    assert (measured.facts["bn_fresh"], measured.facts["restored"]) == (True, True)
    assert [type(module).__name__ for module in model] == ["LazyConv2d", "LazyBatchNorm2d", "ReLU", "Flatten", "LazyLinear"]


def test_compiled_models_are_run_as_written(probe):
    model = torch.compile(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), backend="eager")
    measured = probe(model, (2, 6))
    assert [layer.name for layer in measured.layers] == ["0", "1", "2"]
    assert "the model is compiled: what was compiled was run as it is written" in measured.notes


def test_models_without_values_are_refused(probe):
    with torch.device("meta"):
        model = nn.Linear(6, 3)
    with pytest.raises(ProbeError) as caught:
        probe(model, (2, 6))
    assert caught.value.message == "Linear is on the meta device: its weights have no values to measure"


def test_neither_inputs_nor_data_is_refused(probe):
    with pytest.raises(ProbeError) as caught:
        probe(nn.Linear(6, 3))
    assert caught.value.message == "no inputs for Linear are known"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "0 steps measure nothing"), ({"budget": 0.0}, "a budget of 0 seconds leaves no time for anything"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"), ({"lr": -1.0}, "the learning rate -1.0 is not positive"),
        ({"precision": "int8"}, "unknown precision 'int8'"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(probe, options, message):
    with pytest.raises(UsageError) as caught:
        probe(nn.Linear(6, 3), (2, 6), options=options)
    assert caught.value.message == message


def test_models_that_come_wrapped_are_named_as_if_they_were_not(probe, conv_net):
    plain, wrapped = probe(conv_net(), SHAPE), probe(nn.DataParallel(conv_net()), SHAPE)
    assert [layer.name for layer in wrapped.layers] == [layer.name for layer in plain.layers]
    assert [layer.facts for layer in wrapped.layers] == [layer.facts for layer in plain.layers]


def test_time_first_sequences_are_batched_along_their_second_axis(probe):
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(5, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.lstm(x)[0][-1])

    batches = [(torch.randn(16, 4, 5), torch.randint(0, 3, (4,))) for _ in range(5)]
    found = probe(Tagger(), batches=batches)
    assert (found.setup["batch_size"], found.setup["loss"], found.facts["eval_batch_gap"]) == (
        4,
        "cross_entropy",
        pytest.approx(0.0, abs=1e-6),
    )


@pytest.fixture
def slow(monkeypatch):
    """A model that takes 50 ms for each sample, and how many it was given: by a clock that nothing else moves."""
    now, sizes = [0.0], []

    class Slow(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 4)

        def forward(self, x):
            sizes.append(len(x))
            now[0] += 0.05 * len(x)
            return self.head(x.mean((2, 3)))

    def clock():
        return now[0]

    monkeypatch.setattr(warmup, "time", SimpleNamespace(perf_counter=clock))
    monkeypatch.setattr(run, "Budget", lambda seconds: Budget(seconds, clock=clock))
    return Slow(), sizes


@pytest.mark.parametrize(("budget", "size"), [(40.0, 8), (3.0, 4), (0.5, 2)])
def test_a_slow_model_gets_few_samples_before_its_first_step(probe, slow, budget, size):
    model, sizes = slow
    measured = probe(model, (2, 3, 96, 96), options={"budget": budget})
    assert (sizes[:2], measured.setup["batch_size"]) == ([2, size], size)
    said = f"batches of {size} samples: a step with 8 would take too much of {budget:g} s"
    assert (said in measured.notes) == (size < 8)


def test_the_size_that_was_asked_for_stays_however_slow_the_model(probe, slow):
    model, sizes = slow
    measured = probe(model, (2, 3, 96, 96), options={"budget": 0.5, "batch_size": 6, "steps": 1})
    assert (sizes[0], measured.setup["batch_size"]) == (6, 6)


class Tables(nn.Module):
    """A table for each column; ids below the size of one may be too large for another."""

    def __init__(self, *sizes):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 8) for size in sizes)
        self.last = nn.Linear(8, 3)

    def forward(self, ids):
        return self.last(sum(table(ids[:, column]) for column, table in enumerate(self.tables)))


def test_ids_that_are_too_large_for_a_table_are_drawn_smaller(probe):
    ids = torch.randint(0, 12, (2, 2), generator=torch.Generator().manual_seed(0))
    measured = probe(Tables(12, 2), inputs=Inputs((ids,)))
    (note,) = [note for note in measured.notes if note.startswith("ids were drawn below 2, the size of the smallest table")]
    assert "tables.1: Embedding(2, 8) takes ids from 0 to 1 and got ids from 0 to " in note
    assert len(measured.series["loss"]) == 2


def test_ids_of_the_user_are_not_changed(probe):
    with pytest.raises(ProbeError, match=r"tables\.1: Embedding\(2, 8\) takes ids from 0 to 1 and got ids from 0 to 5"):
        probe(Tables(12, 2), batches=[(torch.tensor([[0, 5], [1, 0]]), torch.tensor([0, 1]))])
