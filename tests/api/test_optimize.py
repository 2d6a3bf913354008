"""``normadvisor.optimize`` and ``normadvisor.load_optimized`` on modules of this process."""

from __future__ import annotations

import copy
import json
import pickle
import random

import numpy as np
import pytest
import torch
from torch import nn

import normadvisor
from normadvisor.errors import NormAdvisorError, UsageError

X = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
QUICK = {"budget": 600.0, "allow_busy": True, "cache": False, "rules": ("NA701", "NA706"), "channels_last": "on"}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


def network(seed=0):
    torch.manual_seed(seed)
    model = Net()
    nn.init.normal_(model.bn.running_mean)
    nn.init.normal_(model.bn.weight)
    return model


@pytest.fixture(scope="module")
def result():
    return normadvisor.optimize(network(), X, **QUICK)


def test_a_copy_computes_the_same(result):
    assert torch.allclose(result.model(X), network().eval()(X), atol=1e-5)
    report = result.optimization
    assert (report.target, report.mode, report.dtype, report.inputs) == ("Net", "inference", "float32", "2x3x12x12")
    assert [(row.rule, row.replacement) for row in report.replacements] == [("NA701", "conv2d"), ("NA706", "channels_last maps")]
    assert report.replacements[1].verdict == "kept"


def test_a_result_is_neither_copied_nor_pickled_but_its_model_is(result):
    for refused in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(UsageError, match="cannot be copied or pickled") as error:
            refused(result)
        assert error.value.hint == "copy or pickle result.model, or write it with result.save(path)"
    for other in (copy.deepcopy(result.model), pickle.loads(pickle.dumps(result.model))):
        assert torch.equal(other(X), result.model(X))


def test_it_prints_as_the_command_does(result):
    lines = str(result).splitlines()
    assert lines[0] == "Net"
    assert any(line.startswith("NA701  conv2d + batch_norm -> conv2d") for line in lines)
    assert lines[-1].startswith("Kept ")


def test_reports_are_written(result, tmp_path):
    for suffix in ("md", "html", "json"):
        result.report(tmp_path / f"report.{suffix}")
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert data["optimizations"] == [json.loads(json.dumps(result.optimization.to_dict()))]
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("## `Net`")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(UsageError, match=r"^a report cannot be written as report\.pdf"):
        result.report(tmp_path / "report.pdf")


def test_it_is_saved_and_loaded_into_a_fresh_model(result, tmp_path):
    pytest.importorskip("safetensors")
    result.save(tmp_path / "net.safetensors")
    loaded = normadvisor.load_optimized(network(seed=3), tmp_path / "net.safetensors")
    assert torch.equal(loaded(X), result.model(X))
    assert torch.equal(normadvisor.load_optimized(network(seed=3), str(tmp_path / "net.safetensors"), X)(X), result.model(X))


def test_checkpoints_of_the_original_are_carried_over():
    result = normadvisor.optimize(network(), X, **QUICK)
    other = network(seed=5)
    result.model.load_state_dict(result.fold_map.apply(other.state_dict()))
    assert torch.allclose(result.model(X), other.eval()(X), atol=1e-5)


def test_it_is_taken_back():
    model = network()
    result = normadvisor.optimize(model, X, mode="training", **QUICK)
    assert result.model is model
    assert model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    result.undo()
    result.undo()
    assert model.conv.weight.is_contiguous()


def test_after_it_was_taken_back_the_model_is_saved_as_it_was(tmp_path):
    model = network()
    result = normadvisor.optimize(model, X, **QUICK)
    result.undo()
    result.save(tmp_path / "net.pt")
    assert torch.equal(normadvisor.load_optimized(network(seed=1), tmp_path / "net.pt")(X), model.eval()(X))
    other = network(seed=5).state_dict()
    assert result.fold_map.apply(other) == other


def test_an_optimizer_goes_on_after_training_was_optimized():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    normadvisor.optimize(model, X, mode="training", **QUICK)
    before = model.conv.weight.detach().clone()
    model(X).sum().backward()
    optimizer.step()
    assert not torch.equal(model.conv.weight, before)


@pytest.mark.parametrize(
    ("inputs", "spec"),
    [("2x3x16x16", "2x3x16x16"), (["2x3x16x16"], "2x3x16x16"), ((X,), "2x3x12x12"), ({"x": X}, "x=2x3x12x12"), (None, None)],
    ids=["text", "texts", "arguments", "by name", "inferred"],
)
def test_inputs_are_said_in_several_ways(inputs, spec):
    found = normadvisor.optimize(network(), inputs, **{**QUICK, "rules": ("NA706",)}).optimization
    assert found.inputs == spec if spec else "3x" in found.inputs


@pytest.mark.parametrize("inputs", [X, None, {"x": X}])
def test_another_batch_size_repeats_the_samples(inputs):
    found = normadvisor.optimize(network(), inputs, batch_size=5, **{**QUICK, "rules": ("NA706",)}).optimization
    assert found.inputs.removeprefix("x=").startswith("5x3x")


def test_samples_that_cannot_be_told_are_said():
    with pytest.raises(UsageError, match=r"^--batch-size: the first sizes of the inputs differ"):
        normadvisor.optimize(network(), (X, torch.ones(3)), batch_size=5, **QUICK)


def test_progress_is_told():
    told = []
    normadvisor.optimize(network(), X, progress=told.append, **{**QUICK, "rules": ("NA706",)})
    assert {(step.phase, step.target) for step in told} == {("optimizing", "Net")}
    assert told[0].part.startswith("seeing whether the machine is idle")


def test_threads_are_put_back():
    before = torch.get_num_threads()
    found = normadvisor.optimize(network(), X, threads=1, **{**QUICK, "rules": ("NA706",)}).optimization
    assert found.device.endswith(", 1 thread)")
    assert torch.get_num_threads() == before


def test_random_states_are_put_back(tmp_path):
    model = network()

    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x):
            return self.net(x) + random.random() * np.random.rand() * torch.rand(1)  # noqa: NPY002 -- as users still draw

    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    result = normadvisor.optimize(Drawing(), "2x3x16x16", **{**QUICK, "channels_last": "auto"})
    assert states() == before
    result.save(tmp_path / "net.pt")
    normadvisor.load_optimized(Drawing(), tmp_path / "net.pt")
    assert states() == before


def test_it_works_within_inference_mode(tmp_path):
    with torch.inference_mode():
        model, x = network(), X.clone()
        result = normadvisor.optimize(model, x, **QUICK)
        result.save(tmp_path / "net.pt")
        loaded = normadvisor.load_optimized(network(), tmp_path / "net.pt", x)
        assert torch.is_inference_mode_enabled()
    assert "not proven" not in {row.verdict for row in result.optimization.replacements}
    assert torch.equal(loaded(X), result.model(X))


class Failing(nn.Module):
    def forward(self, x):
        raise ValueError(x)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("net.py:Net",), {}, "a value of type str cannot be optimized"),
        ((network(), X), {"mode": "evaluation"}, "mode cannot be 'evaluation'"),
        ((network(), X), {"dtype": "float8"}, "dtype cannot be 'float8'"),
        ((network(), X), {"channels_last": "yes"}, "channels_last cannot be 'yes'"),
        ((network(), X), {"budget": -1}, "budget cannot be -1"),
        ((network(), X), {"threads": True}, "threads cannot be True"),
        ((network(), X), {"seed": "a"}, "seed cannot be 'a'"),
        ((network(), X), {"bugdet": 3}, "unknown option 'bugdet'"),
        ((network(), X), {"device": "tpu"}, "device: torch knows no device 'tpu'"),
        ((network(), X), {"rules": ("NA1",)}, "rules cannot have 'NA1'"),
        ((network(), X.numpy()), {}, "inputs cannot be a value of type ndarray"),
        ((network(), "2x3x"), {}, "the input '2x3x' is not a shape"),
    ],
)
def test_what_is_wrong_is_said(arguments, options, message):
    with pytest.raises(UsageError if "shape" not in message else NormAdvisorError) as refusal:
        normadvisor.optimize(*arguments, **{**QUICK, **options})
    assert refusal.value.message == message


def test_a_model_that_cannot_be_run_is_said():
    with pytest.raises(NormAdvisorError) as refusal:
        normadvisor.optimize(Failing(), X, **QUICK)
    assert "forward of Failing could not be followed" in refusal.value.message


def test_a_live_model_stays_on_its_device():
    with torch.device("meta"):
        model = network()
    with pytest.raises(UsageError):
        normadvisor.optimize(model, X, device="cpu", **QUICK)
