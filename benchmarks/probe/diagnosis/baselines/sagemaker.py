"""Amazon SageMaker Debugger's built-in rules with their published defaults.

Source: "List of Debugger Built-in Rules", docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html, and which parameters are
weights from the collections of the client library ``smdebug`` 1.0.34 (pytorch/collection.py: names with ``weight``). The rules themselves
run on AWS and are not published; where the page leaves a choice, the one that fits the page and alarms less is taken:

- a rule speaks where its condition is met at any step, as the page says of each;
- DeadRelu and PoorWeightInitialization look at every ReLU module, whatever its name; units are channels or features;
- PoorWeightInitialization: "If the ratio between minimum and maximum variance of weights per layer exceeds the threshold", "If the minimum
  difference between 5th and 95th percentiles of the gradient distribution is less than" and "loss ... no longer decreasing" for
  ``patience`` steps are taken as three conditions, any of which makes it speak, as the page says of each;
- AllZero and UnchangedTensor have no default tensors: the gradients, and the weights.

Rules that twelve steps of training cannot meet, or that need what is not given (Overfit, Overtraining, StalledTraining, SimilarAcrossRuns,
ClassImbalance, Confusion, TensorVariance without thresholds), are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from benchmarks.probe.diagnosis.steps import Recorded

__all__ = ["KINDS", "QUIET", "RULES", "judge"]


def _vanishing_gradient(recorded: Recorded, threshold: float = 1e-7) -> bool:
    """Mean magnitude of a gradient below the threshold."""
    return any(
        step.gradient_mean is not None and step.gradient_mean < threshold for steps in recorded.parameters.values() for step in steps
    )


def _exploding_tensor(recorded: Recorded) -> bool:
    """Anything that is infinite or not a number; ``only_nan`` is false by default."""
    tensors = any(not step.finite for steps in recorded.parameters.values() for step in steps)
    return tensors or recorded.nonfinite_outputs > 0 or not all(map(math.isfinite, recorded.losses))


def _dead_relu(recorded: Recorded, threshold_inactivity: float = 1.0, threshold_layer: float = 50.0) -> bool:
    """More than ``threshold_layer`` percent of a layer's units are active less than ``threshold_inactivity`` percent."""
    return _inactive(recorded.active, threshold_inactivity, threshold_layer)


def _saturated_activation(recorded: Recorded, threshold_inactivity: float = 1.0, threshold_layer: float = 50.0) -> bool:
    """The same of tanh and sigmoid, active where the input is within +-9.4999, or between -23 and 16.99999."""
    return _inactive(recorded.inside, threshold_inactivity, threshold_layer)


def _inactive(shares: dict[str, list[list[float]]], inactivity: float, layer: float) -> bool:
    return any(
        100 * sum(100 * unit < inactivity for unit in units) / len(units) > layer for steps in shares.values() for units in steps if units
    )


def _poor_weight_initialization(
    recorded: Recorded, threshold: float = 10.0, distribution_range: float = 0.001, patience: int = 5, steps: int = 10
) -> bool:
    """Variances of activation inputs, spread of gradients and loss in the first steps."""
    for values in zip(*(series[:steps] for series in recorded.relu_inputs.values()), strict=False):
        known = [value for value in values if math.isfinite(value)]
        if known and (min(known) == 0 or max(known) / min(known) > threshold):
            return True
    spreads = [step.gradient_spread for series in recorded.parameters.values() for step in series[:steps]]
    if any(spread is not None and spread < distribution_range for spread in spreads):
        return True
    losses = recorded.losses[:steps]
    best = 0
    for index, loss in enumerate(losses):
        best = index if loss < losses[best] else best
        if index - best >= patience:
            return True
    return False


def _weight_update_ratio(recorded: Recorded, large: float = 10.0, small: float = 1e-8) -> bool:
    """Update over weight beyond either threshold, of parameters that are called weights."""
    return any(
        step.update_ratio > large or step.update_ratio < small
        for name, steps in recorded.parameters.items()
        if "weight" in name
        for step in steps
    )


def _unchanged_tensor(recorded: Recorded, num_steps: int = 3) -> bool:
    """A weight that did not change over ``num_steps`` saved steps."""
    for name, steps in recorded.parameters.items():
        still = [step.unchanged for step in steps]
        if "weight" in name and any(all(still[start : start + num_steps - 1]) for start in range(len(still) - num_steps + 2)):
            return True
    return False


def _all_zero(recorded: Recorded, threshold: float = 100.0) -> bool:
    """A gradient all of whose values are zero."""
    return any(
        step.gradient_zeros is not None and 100 * step.gradient_zeros >= threshold
        for steps in recorded.parameters.values()
        for step in steps
    )


def _loss_not_decreasing(recorded: Recorded, num_steps: int = 10, diff_percent: float = 0.1) -> bool:
    """The loss fell by less than ``diff_percent`` percent in ``num_steps`` steps."""
    pairs = zip(recorded.losses[:-num_steps:num_steps], recorded.losses[num_steps::num_steps], strict=False)
    return any(not before - after >= diff_percent / 100 * abs(before) for before, after in pairs)


RULES: dict[str, Callable[[Recorded], bool]] = {
    "VanishingGradient": _vanishing_gradient,
    "ExplodingTensor": _exploding_tensor,
    "DeadRelu": _dead_relu,
    "SaturatedActivation": _saturated_activation,
    "PoorWeightInitialization": _poor_weight_initialization,
    "WeightUpdateRatio": _weight_update_ratio,
    "UnchangedTensor": _unchanged_tensor,
    "AllZero": _all_zero,
    "LossNotDecreasing": _loss_not_decreasing,
}
"""By the name of the page."""

QUIET = ("VanishingGradient", "ExplodingTensor", "DeadRelu", "SaturatedActivation", "UnchangedTensor", "WeightUpdateRatio")
"""Those that alarm on few healthy networks: the rules that a user would leave on."""

KINDS: dict[str, tuple[str, ...]] = {
    "vanishing": ("VanishingGradient",),
    "exploding": ("ExplodingTensor", "PoorWeightInitialization"),
    "dead": ("DeadRelu",),
    "saturated": ("SaturatedActivation",),
    "nan": ("ExplodingTensor",),
    "no-gradient": ("VanishingGradient", "UnchangedTensor", "AllZero"),
    "bad-init": ("PoorWeightInitialization",),
    "mode": (),
}
"""The rules that name each trouble."""


def judge(recorded: Recorded) -> tuple[str, ...]:
    """Names of the rules that speak."""
    return tuple(name for name, rule in RULES.items() if rule(recorded))
