"""The baselines of the diagnosis benchmark: each published condition on both sides of its threshold."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

pytest.importorskip("sklearn", reason="the digits that the networks are trained on are scikit-learn's (extra: zoo)")

from benchmarks.probe.diagnosis import families, plants
from benchmarks.probe.diagnosis.baselines import autotrainer, sagemaker
from benchmarks.probe.diagnosis.network import networks
from benchmarks.probe.diagnosis.steps import STEPS, Recorded, TensorStep, batches, record

REGISTERED = (families, plants)

FINE = TensorStep(
    gradient_mean=1e-2,
    gradient_norm=1.0,
    gradient_spread=0.05,
    gradient_zeros=0.1,
    variance=0.1,
    update_ratio=1e-3,
    unchanged=False,
    finite=True,
)


def recorded(steps=12, first=FINE, last=FINE, **kwargs):
    """Two weights over some steps, a falling loss, accuracies that rise to more than Theta at the end."""
    values = {
        "sizes": {"0.weight": 100, "1.weight": 100},
        "dims": {"0.weight": 2, "1.weight": 2},
        "parameters": {"0.weight": [first] * steps, "1.weight": [last] * steps},
        "losses": [2.0 - 0.1 * step for step in range(steps)],
        "accuracies": [0.1 + 0.06 * step for step in range(steps)],
    }
    return Recorded(**{**values, **kwargs})


def test_a_healthy_run_alarms_nobody():
    assert sagemaker.judge(recorded()) == ()
    assert autotrainer.judge(recorded()) == ()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"first": replace(FINE, gradient_mean=0.9e-7)}, ("VanishingGradient",)),
        ({"first": replace(FINE, gradient_mean=1.1e-7)}, ()),
        ({"first": replace(FINE, finite=False)}, ("ExplodingTensor",)),
        ({"nonfinite_outputs": 1}, ("ExplodingTensor",)),
        ({"active": {"relu": [[0.5, 0.009, 0.009]]}}, ("DeadRelu",)),
        ({"active": {"relu": [[0.5, 0.011, 0.009]]}}, ()),
        ({"inside": {"tanh": [[0.5, 0.009, 0.009]]}}, ("SaturatedActivation",)),
        ({"inside": {"tanh": [[0.5, 0.5, 0.009]]}}, ()),
        ({"relu_inputs": {"a": [1.0], "b": [10.1]}}, ("PoorWeightInitialization",)),
        ({"relu_inputs": {"a": [1.0], "b": [9.9]}}, ()),
        ({"first": replace(FINE, gradient_spread=0.0009)}, ("PoorWeightInitialization",)),
        ({"losses": [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1]}, ("PoorWeightInitialization",)),
        ({"first": replace(FINE, update_ratio=10.1)}, ("WeightUpdateRatio",)),
        ({"first": replace(FINE, update_ratio=0.9e-8)}, ("WeightUpdateRatio",)),
        ({"first": replace(FINE, unchanged=True)}, ("UnchangedTensor",)),
        ({"first": replace(FINE, gradient_zeros=1.0)}, ("AllZero",)),
        ({"losses": [2.0, 1.95, 1.9, 1.85, 1.8, 1.9, 1.85, 1.79, 1.9, 1.8, 1.999, 1.6]}, ("LossNotDecreasing",)),
        ({"losses": [2.0, 1.95, 1.9, 1.85, 1.8, 1.9, 1.85, 1.79, 1.9, 1.8, 1.997, 1.6]}, ()),
    ],
)
def test_each_rule_of_sagemaker_has_its_threshold(changed, expected):
    assert sagemaker.judge(recorded(**changed)) == expected


def test_biases_are_no_weights_to_sagemaker():
    still = [replace(FINE, update_ratio=100.0, unchanged=True)] * 12
    assert sagemaker.judge(recorded(parameters={"0.bias": still})) == ()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"first": replace(FINE, gradient_norm=0.9e-4), "last": FINE}, ("vanish",)),
        ({"first": replace(FINE, gradient_norm=1.1e-4), "last": FINE}, ()),  # small beside the last, and yet above beta_2
        ({"first": replace(FINE, gradient_norm=0.9e-4), "last": replace(FINE, gradient_norm=0.08)}, ()),
        ({"first": replace(FINE, gradient_norm=71.0)}, ("explode",)),
        ({"first": replace(FINE, gradient_norm=69.0)}, ()),
        ({"first": replace(FINE, finite=False)}, ("explode",)),
        ({"losses": [1e5, *[1.0] * 11]}, ("explode",)),
        ({"losses": [math.nan, *[1.0] * 11]}, ("explode",)),
        ({"first": replace(FINE, gradient_zeros=1.0), "last": replace(FINE, gradient_zeros=0.41)}, ("relu",)),
        ({"first": replace(FINE, gradient_zeros=1.0), "last": replace(FINE, gradient_zeros=0.39)}, ()),
        ({"first": replace(FINE, gradient_norm=None, gradient_zeros=None), "last": replace(FINE, gradient_zeros=0.5)}, ("relu",)),
        ({"accuracies": [0.1 + 0.005 * step for step in range(12)]}, ("not_converge",)),
        ({"accuracies": [0.9, 0.8] * 6}, ("unstable",)),
        ({"accuracies": [0.9, 0.88] * 6}, ()),
        ({"accuracies": [], "first": replace(FINE, gradient_norm=71.0)}, ("explode",)),
    ],
)
def test_each_condition_of_autotrainer_has_its_threshold(changed, expected):
    accuracies = changed.get("accuracies", [0.1 + 0.05 * step for step in range(12)])
    assert autotrainer.judge(recorded(**{**changed, "accuracies": accuracies})) == expected


def test_a_network_that_learned_has_no_trouble_to_autotrainer():
    vanishing = replace(FINE, gradient_norm=1e-6)
    assert autotrainer.judge(recorded(first=vanishing, accuracies=[0.9] * 3 + [0.92] * 9)) == ()


def test_a_run_that_stopped_exploded():
    assert autotrainer.judge(recorded(steps=0, stopped=True)) == ("explode",)


def test_every_kind_is_named_by_rules_that_exist():
    assert {name for names in sagemaker.KINDS.values() for name in names} <= set(sagemaker.RULES)
    assert {name for names in autotrainer.KINDS.values() for name in names} <= set(autotrainer.PROBLEMS)


def test_recording_agrees_with_the_same_steps_run_by_hand():
    network = next(one for one in networks() if one.name == "mlp/healthy/0")
    found = record(network)
    setup = network.setup()
    optimizer = setup.new_optimizer()
    for index, (inputs, target) in enumerate(batches(network, setup)):
        optimizer.zero_grad()
        output = setup.model(inputs)
        loss = setup.task.loss(output, target)
        loss.backward()
        weight = setup.model[0].weight
        step = found.parameters["0.weight"][index]
        assert found.losses[index] == loss.item()
        assert found.accuracies[index] == pytest.approx((output.argmax(1) == target).float().mean().item())
        assert step.gradient_norm == weight.grad.norm().item()
        assert step.gradient_mean == weight.grad.abs().mean().item()
        assert step.gradient_zeros == (weight.grad == 0).float().mean().item()
        assert step.variance == pytest.approx(weight.var().item())
        before = weight.detach().clone()
        with torch.no_grad():
            active = (setup.model[:2](inputs) > 0).float().mean(0)
        assert found.active["1"][index] == pytest.approx(active.tolist())
        optimizer.step()
        assert step.update_ratio == pytest.approx(((weight - before).abs().mean() / (before.abs().mean() + 1e-9)).item())
    assert len(found.losses) == STEPS
    assert not any(hook for module in setup.model.modules() for hook in module._forward_hooks.values())


def test_inputs_of_bounded_activations_are_counted_within_the_published_bounds():
    network = next(one for one in networks() if one.name == "mlp-tanh/bias-far-off/0")
    found = record(network)
    assert "SaturatedActivation" in sagemaker.judge(found)
    assert set(found.inside) == {name for name, module in network.setup().model.named_modules() if isinstance(module, nn.Tanh)}
