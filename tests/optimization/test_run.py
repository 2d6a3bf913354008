import copy
import gc
import re

import pytest
import torch
from torch import nn

from normadvisor.optimization import run, selection
from normadvisor.optimization.measuring.measurer import Measurer
from normadvisor.optimization.prepared import Given, Subject, traced
from normadvisor.optimization.run import optimize_model
from normadvisor.types.optimization import Left, OptimizeOptions, Ratio

pytestmark = pytest.mark.usefixtures("operation_clock")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.head(x.mean((2, 3)))


def network():
    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():
        for norm in (model.bn1, model.bn2):
            norm.weight.normal_()
            norm.bias.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return model


def optimized(model, **options):
    told = []
    subject = Subject(model=model, inputs=Given((torch.randn(2, 3, 12, 12),)), target="net.py:Net", spec="2x3x12x12")
    options.setdefault("rules", ("NA701", "NA706"))
    result = optimize_model(subject, OptimizeOptions(**options), told=lambda what, done, total: told.append(what))
    return result, told


def rows(result):
    return [(row.rule, row.stage, row.pattern, row.replacement, row.modules, row.verdict) for row in result.optimization.replacements]


def test_a_model_in_train_mode_is_optimized_on_a_copy():
    model = network()
    before = copy.deepcopy(model.state_dict())
    result, told = optimized(model)
    assert rows(result) == [
        ("NA701", "fold", "conv2d + batch_norm", "conv2d", ("conv1", "conv2"), "kept"),
        ("NA706", "layout", "contiguous maps", "channels_last maps", ("",), "no gain"),
    ]
    assert model.training
    assert not result.model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    x = torch.randn(4, 3, 20, 20)
    assert torch.allclose(result.model(x), model.eval()(x), atol=1e-6)
    report = result.optimization
    assert (report.target, report.mode, report.dtype, report.inputs) == ("net.py:Net", "inference", "float32", "2x3x12x12")
    threads = torch.get_num_threads()
    assert report.device == f"cpu (Test CPU, {threads} thread{'s' if threads > 1 else ''})"
    assert report.end_to_end.median > 1.1
    assert report.error.after < 1e-5
    fold, layout = "conv2d + batch_norm -> conv2d", "contiguous maps -> channels_last maps"
    assert [words.rpartition(", ")[0] for words in told] == [
        "seeing whether the machine is idle", "running the model", "looking for layers that do nothing",
        "looking for operations written out by hand", "looking for folds", f"measuring {fold} alone", "running the model in float64",
        f"proving that {fold} changes nothing", f"measuring the rounding errors of {fold}",
        f"measuring the model with and without {fold}", "looking for folds", "looking for layers to merge",
        "looking for operations to fuse", "looking at the memory format",
        f"proving that {layout} changes nothing", f"measuring the rounding errors of {layout}",
        f"measuring the model with and without {layout}", "looking for activations to fuse",
    ]  # fmt: skip
    assert all(re.fullmatch(r".*, \d+ s left", words) for words in told)


def test_keys_say_what_became_of_them():
    result, _ = optimized(network())
    folded = "from conv1.weight, bn1.weight, bn1.bias, bn1.running_mean, bn1.running_var"
    assert {key: words for key, words in result.optimization.keys.items() if "1" in key} == {
        "conv1.weight": folded, "conv1.bias": folded,
        **{f"bn1.{name}": "dropped" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")},
    }  # fmt: skip


def test_everything_can_be_taken_back():
    model = network()
    result, _ = optimized(model)
    result.journal.undo()
    x = torch.randn(2, 3, 12, 12)
    assert result.model.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(result.model(x), model.eval()(x))


def test_what_is_asked_for_is_kept_and_what_is_not_wanted_not_tried():
    on, _ = optimized(network(), channels_last="on")
    off, _ = optimized(network(), channels_last="off")
    assert [row[-1] for row in rows(on)] == ["kept", "kept"]
    assert [row[0] for row in rows(off)] == ["NA701"]
    assert on.model(torch.randn(2, 3, 12, 12)).shape == (2, 4)
    assert on.model.conv2.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_memory_format_that_is_asked_for_and_there_stays():
    model = network().to(memory_format=torch.channels_last)
    result, _ = optimized(model, rules=("NA706",), channels_last="on")
    assert result.optimization.replacements == ()
    assert result.model.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_for_training_the_model_itself_is_changed():
    model = network()
    parameters = dict(model.named_parameters())
    result, _ = optimized(model, mode="training", channels_last="on")
    assert result.model is model
    assert all(value is parameters[key] for key, value in model.named_parameters())
    assert rows(result) == [("NA706", "layout", "contiguous maps", "channels_last maps", ("",), "kept")]
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(value.grad is None for value in model.parameters())
    assert "a pass is forward and backward; the optimizer's step is not in it" in result.optimization.notes
    result.journal.undo()
    assert model.conv1.weight.is_contiguous()


def test_statistics_of_a_model_that_trains_stay_as_they_were():
    model = network()
    before = copy.deepcopy(model.state_dict())
    optimized(model, mode="training")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Stateful(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.calls, self.last = 0, []

    def forward(self, x):
        found = super().forward(x)
        self.calls += 1
        self.last.append(found.detach())
        self.mean.lerp_(found.detach().mean(0), 0.5)
        return found


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_what_a_forward_changes_of_its_model_is_as_it_was(mode):
    model = Stateful()
    result, _ = optimized(model, mode=mode)
    assert result.optimization.replacements
    for each in (model, result.model):
        assert (each.calls, each.last, each.mean.tolist()) == (0, [], [0.0] * 4)


def test_nothing_to_replace_is_an_empty_table():
    subject = Subject(model=nn.Linear(4, 4), inputs=Given((torch.randn(2, 4),)), target="net", spec="2x4")
    result = optimize_model(subject, OptimizeOptions())
    assert (result.optimization.replacements, result.optimization.end_to_end, result.taken, result.steps) == ((), None, (), ())


def test_places_that_stay_are_joined_by_reason():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)
            self.bn = nn.BatchNorm2d(8)

        def forward(self, x):
            x = self.conv(x)
            return self.bn(x) + x

    subject = Subject(model=Shared(), inputs=Given((torch.randn(2, 3, 8, 8),)), target="net", spec="2x3x8x8")
    result = optimize_model(subject, OptimizeOptions(rules=("NA701",)))
    assert result.optimization.replacements == ()
    [left] = result.optimization.left
    assert isinstance(left, Left)
    assert (left.rule, len(left.modules)) == ("NA701", 1)


def test_ratios_are_kept_for_the_next_run(monkeypatch):
    first, _ = optimized(network())
    measured = []
    pair = Measurer.pair
    monkeypatch.setattr(Measurer, "pair", lambda self, *args: measured.append(args) or pair(self, *args))
    second, _ = optimized(network())
    assert (first.optimization.replacements[0].kernel.cached, second.optimization.replacements[0].kernel.cached) == (False, True)
    assert measured == []
    third, _ = optimized(network(), cache=False)
    assert (third.optimization.replacements[0].kernel.cached, len(measured)) == (False, 2)


def test_a_machine_that_stays_busy_is_said_once_and_nothing_is_kept(monkeypatch):
    naps = []
    monkeypatch.setattr("normadvisor.optimization.measuring.measurer.time.sleep", naps.append)
    monkeypatch.setattr("normadvisor.optimization.measuring.measurer.Measurer._foreign", lambda self: "the machine is busy")
    result, _ = optimized(network(), cache=False)
    assert [(row.verdict, row.reason) for row in result.optimization.replacements] == [("not measured", "the machine is busy")] * 2
    assert len(naps) == 10


def test_a_model_is_traced_once_as_long_as_it_stays_what_it_is(monkeypatch):
    made = []
    monkeypatch.setattr(run, "traced", lambda model, *rest: made.append(model) or traced(model, *rest))
    optimized(network())
    assert len(made) == 2  # the model, and what became of it when norms were folded


def test_one_replacement_is_all_there_is_to_measure():
    report = optimized(network(), rules=("NA701",))[0].optimization
    [row] = report.replacements
    assert (report.end_to_end, report.memory, report.error) == (row.end_to_end, row.memory, row.error)


def test_what_turns_out_slower_together_is_taken_back(monkeypatch):
    model, models, asked = network(), Measurer.models, []

    def slower(self, before, after, *lines):
        asked.append(lines)
        found = models(self, before, after, *lines)
        return Ratio(median=0.5, low=0.4, high=0.6, pairs=7, before=0.1, after=0.2) if lines == (1.0,) else found

    monkeypatch.setattr(Measurer, "models", slower)
    monkeypatch.setattr(selection, "judged", lambda *_: ("kept", ""))
    result, _ = optimized(model)
    reason = "with all that was kept the whole model was 0.50 times as fast, measured twice"
    assert [(row.rule, row.verdict, row.reason) for row in result.optimization.replacements] == [
        ("NA701", "slower", reason), ("NA706", "slower", reason)
    ]  # fmt: skip
    assert asked == [(0.98,), (), (1.0,), (1.0,)]
    report = result.optimization
    assert (report.end_to_end, report.memory, report.error, report.keys, result.taken, result.steps) == (None, None, None, {}, (), ())
    assert result.model.state_dict().keys() == model.state_dict().keys()


def test_nothing_is_begun_once_the_budget_is_spent(monkeypatch):
    monkeypatch.setattr(Measurer, "left", 0.0)
    result, _ = optimized(network())
    [row, other] = result.optimization.replacements
    assert (row.verdict, other.verdict, row.kernel) == ("not measured", "not measured", None)
    assert re.fullmatch(r"the budget of time does not allow it: about \d+ s would be needed, and 0 s of 120 s are left", row.reason)


def test_the_second_run_of_a_stage_sees_what_the_first_left():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn1, self.bn2 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8)

        def forward(self, x):
            return self.bn2(self.bn1(self.conv(x)))

    model = Twice().eval()
    subject = Subject(model=model, inputs=Given((torch.randn(2, 3, 8, 8),)), target="net", spec="2x3x8x8")
    result = optimize_model(subject, OptimizeOptions(rules=("NA701",)))
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(result.model(x), model(x), atol=1e-6)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in result.model.modules())


class Split(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.BatchNorm1d(8))
        self.top = nn.Linear(8, 3)

    def forward(self, x, offset=None, extra=None):
        y = self.top(self.body(x))
        return y if offset is None else y + offset + extra


def test_what_the_outputs_do_not_show_is_noted():
    subject = Subject(model=Split().eval(), inputs=Given((torch.randn(4, 6),)), target="Split", spec="4x6")
    report = optimize_model(subject, OptimizeOptions(rules=("NA701",))).optimization
    assert [(row.modules, row.verdict) for row in report.replacements] == [(("top",), "kept")]
    assert report.notes == (
        "body by itself gives something else afterwards: its norm is in top",
        "compared without offset, extra: what forward computes with them was not",
    )


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_nothing_is_held_once_the_result_is_gone(mode):
    def nets():
        gc.collect()
        return sum(isinstance(each, Net) for each in gc.get_objects())

    before = nets()
    result, _ = optimized(network(), mode=mode)
    assert nets() > before
    del result
    assert nets() == before
