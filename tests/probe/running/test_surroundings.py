"""Probes that are called within modes of torch, and beside graphs that the user holds."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from normadvisor.errors import ProbeError
from normadvisor.probe.running.surroundings import observed


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return torch.randn(32, 16, generator=drawn), torch.randint(0, 4, (32,), generator=drawn)


def _series(measured):
    return {layer.name: layer.series["grad_norm"] for layer in measured.layers if "grad_norm" in layer.series}


def test_inference_mode_around_the_call_changes_nothing(probe):
    model, batch = _net(), _data()
    plain = probe(model, batches=[batch], loss_fn=cross_entropy)
    with torch.inference_mode():
        within = probe(model, batches=[batch], loss_fn=cross_entropy)
        assert torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
    assert _series(within) == _series(plain)
    assert within.facts["restored"] is True


def test_batches_made_in_inference_mode(probe):
    plain = probe(_net(), batches=[_data()], loss_fn=cross_entropy)
    with torch.inference_mode():
        batch = _data()
    assert batch[0].is_inference()
    assert _series(probe(_net(), batches=[batch], loss_fn=cross_entropy)) == _series(plain)


def test_weights_made_in_inference_mode_are_refused(probe):
    with torch.inference_mode():
        model = _net()
    with pytest.raises(ProbeError) as caught:
        probe(model, batches=[_data()], loss_fn=cross_entropy)
    assert caught.value.message == "the parameter 0.weight was made in torch.inference_mode(), so that it can never get a gradient"
    assert caught.value.hint == "build the model outside of torch.inference_mode()"


def test_steps_are_seen_within_autocast(probe):
    model, batch = _net(), _data()
    asked = probe(model, batches=[batch], loss_fn=cross_entropy, options={"steps": 5, "lr": 0.1, "precision": "amp"})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = model(batch[0])
        within = probe(model, batches=[batch], loss_fn=cross_entropy, options={"steps": 5, "lr": 0.1})
        assert torch.is_autocast_enabled("cpu")
        assert torch.equal(model(batch[0]), before)
    assert within.setup["precision"] == "amp"
    assert within.series["loss"] == asked.series["loss"]
    assert len(set(within.series["loss"])) == 5
    assert "automatic mixed precision in bfloat16, as around the call" in within.notes


def test_a_precision_that_is_asked_for_goes_before_autocast_around_the_call(probe):
    plain = probe(_net(), batches=[_data()], loss_fn=cross_entropy)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = probe(_net(), batches=[_data()], loss_fn=cross_entropy, options={"precision": "fp32"})
    assert within.setup["precision"] == "fp32"
    assert within.series["loss"] == plain.series["loss"]


@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.BatchNorm1d(32)])
def test_a_graph_that_the_user_holds_stays_usable(probe, norm):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), norm(), nn.ReLU(), nn.Linear(32, 4))
    inputs, labels = _data()
    parameters = list(model.parameters())
    expected = torch.autograd.grad(cross_entropy(model.eval()(inputs), labels), parameters)
    loss = cross_entropy(model(inputs), labels)
    probe(model, batches=[(inputs, labels)], loss_fn=cross_entropy)
    found = torch.autograd.grad(loss, parameters)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_change_of_the_users_is_still_noticed_by_a_graph(probe):
    model, (inputs, labels) = _net(), _data()
    loss = cross_entropy(model(inputs), labels)
    probe(model, batches=[(inputs, labels)], loss_fn=cross_entropy)
    with torch.no_grad():
        model[2].weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_observers_of_the_model_or_of_a_part_of_it_are_paused(probe):
    told: list[str] = []
    model, other = _net(), _net()
    with observed(model, lambda: told.append("pause"), lambda: told.append("resume")):
        probe(other, batches=[_data()], loss_fn=cross_entropy)
        assert told == []
        probe(model, batches=[_data()], loss_fn=cross_entropy)
        assert told == ["pause", "resume"]
        probe(nn.Sequential(model[2]), (8, 32))
        assert told == ["pause", "resume"] * 2
        with pytest.raises(ProbeError):
            probe(model, batches=[(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))], loss_fn=cross_entropy)
        assert told == ["pause", "resume"] * 3
    probe(model, batches=[_data()], loss_fn=cross_entropy)
    assert told == ["pause", "resume"] * 3
