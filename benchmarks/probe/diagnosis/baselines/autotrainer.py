"""AutoTrainer's conditions with its published thresholds.

Zhang, Zhai, Ma, Shen: "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair System", ICSE 2021, table 1; thresholds of its
repository (github.com/shiningrain/AUTOTRAINER, ``default_param``): the ratio of the first to the last layer's kernel gradient below
beta_1 = 1e-3 with the first below beta_2 = 1e-4 (vanishing), above beta_3 = 70 (exploding), gamma = 0.7 of all gradient values zero (dying
ReLU), accuracy that swings by zeta = 0.03 in eta = 0.2 of the checks (oscillating loss), accuracy that never rises by delta = 0.01 (slow
convergence), each while the accuracy is below Theta = 0.7, oscillation above it; anything that is not a number, or a loss of 1e5, is
exploding. It checks after epochs; here each step is one check, and its first problem is the one that it reports. Of networks that do not
classify, whose accuracy does not exist, the conditions on gradients and losses are asked alone, as if they had not converged.
"""

from __future__ import annotations

import math
from itertools import pairwise

from benchmarks.probe.diagnosis.steps import Recorded, TensorStep

__all__ = ["KINDS", "PROBLEMS", "judge"]

BETA_1, BETA_2, BETA_3, GAMMA, ZETA, ETA, DELTA, THETA = 1e-3, 1e-4, 70.0, 0.7, 0.03, 0.2, 0.01, 0.7
_EXPLODED_LOSS = 1e5
_JUDGED_FROM = 0.3
"""Losses and accuracies are judged from this share of the training on; gradients from the start."""

PROBLEMS = ("vanish", "explode", "relu", "unstable", "not_converge")
"""As its repository calls them."""

KINDS: dict[str, tuple[str, ...]] = {
    "vanishing": ("vanish",),
    "exploding": ("explode",),
    "dead": ("relu",),
    "saturated": ("vanish",),
    "nan": ("explode",),
    "no-gradient": ("relu", "vanish", "not_converge"),
    "bad-init": ("explode", "not_converge"),
    "mode": (),
}
"""The problems that name each trouble."""


def _gradients(recorded: Recorded, index: int) -> dict[str, TensorStep]:
    """Gradients of one step, kernels and biases; Keras gives zeros where there is none."""
    return {name: steps[index] for name, steps in recorded.parameters.items()}


def _swings(accuracies: list[float]) -> bool:
    highs = [b for a, b, c in zip(accuracies, accuracies[1:], accuracies[2:], strict=False) if b >= a and b >= c]
    lows = [b for a, b, c in zip(accuracies, accuracies[1:], accuracies[2:], strict=False) if b <= a and b <= c]
    large = sum(high - low >= ZETA for high, low in zip(highs, lows, strict=False))
    return large >= ETA * len(accuracies)


def _problem(recorded: Recorded, index: int) -> str | None:
    """The problem after one step, ``None`` where there is none."""
    gradients = _gradients(recorded, index)
    loss = recorded.losses[index]
    if not math.isfinite(loss) or loss >= _EXPLODED_LOSS or not all(gradient.finite for gradient in gradients.values()):
        return "explode"
    kernels = [gradient.gradient_norm or 0.0 for name, gradient in gradients.items() if recorded.dims[name] > 1]
    zeros = [recorded.sizes[name] * (1.0 if g.gradient_zeros is None else g.gradient_zeros) for name, g in gradients.items()]
    judged = index + 1 >= _JUDGED_FROM * len(recorded.losses)
    accuracies = recorded.accuracies[: index + 1]
    slow = judged and bool(accuracies) and max((b - a for a, b in pairwise(accuracies)), default=0.0) < DELTA
    poor = not accuracies or (judged and max(accuracies) < THETA)
    if not (poor or slow):
        return "unstable" if judged and _swings(accuracies) else None
    if zeros and sum(zeros) / sum(recorded.sizes.values()) >= GAMMA:
        return "relu"
    first, last = (kernels[0], kernels[-1]) if kernels else (1.0, 1.0)
    ratio = first / last if last else (math.inf if first else math.nan)
    if ratio > BETA_3:
        return "explode"
    if ratio < BETA_1 and first < BETA_2:
        return "vanish"
    return "not_converge" if slow else None


def judge(recorded: Recorded) -> tuple[str, ...]:
    """The first problem that it would report, or none."""
    for index in range(len(recorded.losses)):
        problem = _problem(recorded, index)
        if problem is not None:
            return (problem,)
    return ("explode",) if recorded.stopped else ()
