from __future__ import annotations

import copy
import io
import random
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.errors import UsageError
from normadvisor.probe.recording.recorder import Recorder


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))


def _hooks(model: nn.Module) -> list[Any]:
    return [
        (name, list(module._forward_hooks.items()), list(module._forward_pre_hooks.items()), dict(module._forward_hooks_with_kwargs))
        for name, module in model.named_modules()
    ]


def _train(model: nn.Module, steps: int, recorder: Recorder | None) -> tuple[list[float], dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        if recorder is not None:
            recorder.begin_step()
        loss = F.dropout(model(torch.randn(4, 3, 40, 40))).square().mean()
        loss.backward()
        if recorder is not None:
            recorder.after_backward()
        optimizer.step()
        if recorder is not None:
            recorder.end_step()
        losses.append(loss.item())
    return losses, {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("exact", [False, True])
def test_training_is_the_same_bit_for_bit(exact: bool):
    model = _model()
    model(torch.zeros(1, 3, 40, 40))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    plain = _train(model, 3, None)
    random_states = torch.get_rng_state(), random.getstate()
    model.load_state_dict(state)
    with Recorder(model, exact=exact) as recorder:
        recorded = _train(model, 3, recorder)
    assert recorded[0] == plain[0]
    assert {key: torch.equal(value, plain[1][key]) for key, value in recorded[1].items()} == dict.fromkeys(plain[1], True)
    assert (torch.equal(torch.get_rng_state(), random_states[0]), random.getstate()) == (True, random_states[1])


def test_no_hook_is_left_and_those_of_the_user_keep_their_order():
    model = _model()
    model(torch.zeros(1, 3, 40, 40))
    model[1].register_forward_hook(lambda *_: None)
    model[1].register_forward_pre_hook(lambda *_: None)
    before = _hooks(model)
    kept: list[torch.Tensor] = []
    with Recorder(model) as recorder:
        model[1].register_forward_hook(lambda _, __, output: kept.append(output))
        assert _hooks(model) != before
        recorder.begin_step()
        output = model(torch.randn(2, 3, 40, 40))
        during = len(kept[0]._backward_hooks or {}), len(output._backward_hooks or {})
        recorder.end_step()
    assert (during, len(kept[0]._backward_hooks or {}), len(output._backward_hooks or {})) == ((1, 1), 0, 0)
    model[1]._forward_hooks.popitem()
    assert _hooks(model) == before
    assert torch.overrides._get_current_function_mode_stack() == []


def _step(recorder: Recorder, model: nn.Module) -> None:
    with recorder:
        recorder.begin_step()
        model(torch.ones(1, 3))


def test_an_error_in_the_middle_leaves_nothing_behind():
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act = nn.Linear(3, 3), nn.ReLU()
            self.error: BaseException | None = None

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            values = self.act(self.fc(values))
            if self.error is not None:
                raise self.error
            return values

    model = Failing()
    before = _hooks(model)
    for error in (ValueError(), KeyboardInterrupt()):
        recorder = Recorder(model)
        model.error = error
        with pytest.raises(type(error)):
            _step(recorder, model)
        assert (_hooks(model), torch.overrides._get_current_function_mode_stack(), recorder.steps) == (before, [], 0)
    model.error = None
    with recorder:
        recorder.begin_step()
        model(torch.ones(2, 3)).sum().backward()
        recorder.after_backward()
        recorder.end_step()
    assert (recorder.steps, [layer.calls for layer in recorder.layers()]) == (1, [1, 1])


def test_a_step_that_never_ended_is_dropped():
    model = nn.Sequential(nn.Linear(3, 3))
    with Recorder(model) as recorder:
        recorder.begin_step()
        model(torch.full((1, 3), 1e6))
        recorder.begin_step()
        model(torch.zeros(1, 3)).sum().backward()
        recorder.after_backward()
        recorder.end_step()
    assert recorder.steps == 1
    assert recorder.last()["0"]["act_abs_max"] < 1


def test_steps_without_a_backward_pass_have_no_gradients():
    model = nn.Sequential(nn.Linear(3, 3))
    with Recorder(model) as recorder:
        for backward in (True, False, True):
            recorder.begin_step()
            loss = model(torch.ones(1, 3)).sum()
            if backward:
                loss.backward()
                recorder.after_backward(scale=2.0)
            recorder.end_step()
    (layer,) = recorder.layers()
    assert [value is None for value in layer.series["grad_norm"]] == [False, True, False]
    assert len(layer.series["act_mean"]) == 3
    assert recorder.series()["loss_scale"] == (2.0, None, 2.0)


def test_gradients_are_read_again_after_another_backward_pass():
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    with Recorder(model) as recorder:
        recorder.begin_step()
        for _ in range(3):
            model(torch.ones(1, 3)).sum().backward()
            recorder.after_backward()
        recorder.end_step()
    assert recorder.last()["0"]["grad_norm"] == pytest.approx(3 * 3**0.5)
    assert recorder.layers()[0].calls == 1


def test_clipping_afterwards_changes_nothing():
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    with Recorder(model) as recorder:
        recorder.begin_step()
        model(torch.ones(1, 3)).sum().backward()
        recorder.after_backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        recorder.end_step()
    assert recorder.series()["grad_norm"] == (pytest.approx(3**0.5),)


def test_nothing_is_recorded_while_paused():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    with Recorder(model) as recorder:
        recorder.begin_step()
        with recorder.paused(), recorder.paused():
            model(torch.full((1, 3), 1e9))
        model(torch.ones(1, 3)).sum().backward()
        recorder.after_backward()
        recorder.end_step()
    assert [layer.calls for layer in recorder.layers()] == [1, 1]
    assert recorder.last()["0"]["act_abs_max"] < 10


def test_history_is_bounded():
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    with Recorder(model, history=2) as recorder:
        for index in range(5):
            recorder.begin_step()
            model(torch.full((1, 1), float(index))).sum().backward()
            recorder.after_backward()
            recorder.end_step()
            model.zero_grad()
    assert recorder.steps == 5
    assert recorder.series()["grad_norm"] == (3.0, 4.0)
    assert recorder.layers()[0].series["grad_norm"] == (3.0, 4.0)
    assert {len(values) for values in recorder.layers()[0].series.values()} == {2}


def test_the_same_seed_gives_the_same_numbers_and_another_other_ones():
    model = nn.Sequential(nn.Conv2d(3, 16, 3))
    images = torch.randn(4, 3, 64, 64)

    def run(seed: int) -> float:
        with Recorder(model, seed=seed) as recorder:
            for _ in range(2):
                recorder.begin_step()
                model(images)
                recorder.end_step()
        first, second = recorder.layers()[0].series["act_mean"]
        assert first != second
        return float(second or 0)

    assert run(1) == run(1) != run(2)


def test_copies_and_files_of_a_model_do_not_measure():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU())
    with Recorder(model) as recorder:
        copied = copy.deepcopy(model)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        recorder.begin_step()
        for other in (copied, loaded):
            other(torch.full((2, 3), 1e9))
        assert [other.state_dict().keys() for other in (copied, loaded)] == [model.state_dict().keys()] * 2
        recorder.end_step()
    assert [layer.calls for layer in recorder.layers()] == [0, 0, 0]


def test_only_parameters():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    before = _hooks(model)
    with Recorder(model, activations=False) as recorder:
        assert _hooks(model) == before
        recorder.begin_step()
        model(torch.ones(1, 3)).sum().backward()
        recorder.after_backward()
        recorder.end_step()
    assert sorted(recorder.last()["0"]) == ["grad_nonfinite", "grad_norm", "grad_rms", "update_ratio", "weight_grad_norm", "weight_norm"]


def test_sums_of_all_parameters_may_be_combined():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    sizes: list[int] = []

    def double(sums: torch.Tensor) -> None:
        sizes.append(sums.numel())
        sums.mul_(2)

    def run(**options: Any) -> Recorder:
        model.zero_grad()
        with Recorder(model, **options) as recorder:
            recorder.begin_step()
            model(torch.ones(1, 3)).sum().backward()
            recorder.after_backward()
            recorder.end_step()
        return recorder

    alone, both = run().series(), run(combine=double).series()
    assert sizes == [7 * 4]
    assert both["grad_norm"] == (pytest.approx((alone["grad_norm"][0] or 0) * 2**0.5),)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda recorder: recorder.begin_step(), "Enter the recorder before its first step"),
        (lambda recorder: recorder.after_backward(), "after_backward() is called within a step"),
        (lambda recorder: recorder.end_step(), "end_step() ends a step"),
    ],
)
def test_calls_out_of_order(call: Any, message: str):
    with pytest.raises(UsageError) as error:
        call(Recorder(nn.Linear(1, 1)))
    assert error.value.message == message


def test_a_scale_that_is_none_and_entering_twice():
    with Recorder(nn.Linear(1, 1)) as recorder:
        recorder.begin_step()
        for scale in (0.0, -1.0, float("nan")):
            with pytest.raises(UsageError):
                recorder.after_backward(scale)
        with pytest.raises(UsageError):
            recorder.__enter__()


def test_one_transfer_brings_all_numbers(monkeypatch: pytest.MonkeyPatch):
    from normadvisor.probe.recording import transfer

    counted: list[int] = []
    deliver = transfer._deliver
    monkeypatch.setattr(transfer, "_deliver", lambda entries: (counted.append(len(entries)), deliver(entries)))
    model = _model()
    with Recorder(model) as recorder:
        recorder.begin_step()
        model(torch.randn(2, 3, 40, 40)).sum().backward()
        recorder.after_backward()
        recorder.end_step()
    assert len(counted) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_numbers_of_a_cuda_device_are_those_of_the_cpu():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 4))
    inputs = torch.randn(32, 64)
    found = []
    for device in ("cpu", "cuda"):
        model.to(device).zero_grad()
        with Recorder(model, exact=True) as recorder:
            recorder.begin_step()
            model(inputs.to(device)).square().mean().backward()
            recorder.after_backward()
            recorder.end_step()
        found.append(recorder.last())
    assert found[1] == {name: pytest.approx(numbers, rel=1e-4, abs=1e-6) for name, numbers in found[0].items()}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_is_waited_for_once_per_step():
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU()).cuda()
    images = torch.randn(4, 3, 64, 64, device="cuda")
    with Recorder(model) as recorder:
        for index in range(2):
            recorder.begin_step()
            torch.cuda.set_sync_debug_mode("error" if index else "default")
            try:
                model(images).sum().backward()
                recorder.after_backward()
            finally:
                torch.cuda.set_sync_debug_mode("default")
            recorder.end_step()
