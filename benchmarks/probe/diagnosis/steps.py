"""The steps that all judge: the same batches, the same optimizer; and a plain recording of them for the baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from benchmarks.probe.diagnosis.network import Network, Setup
from benchmarks.probe.diagnosis.tasks import Batch

__all__ = ["BATCH", "STEPS", "Recorded", "TensorStep", "batches", "record"]

STEPS = 12
"""Steps that are judged: the longest that a default of a baseline needs is eleven."""
BATCH = 32
"""Samples per step."""


def batches(network: Network, setup: Setup) -> list[Batch]:
    """Training batches of a network, one for each step."""
    return setup.task.batches(2000 + network.seed, STEPS, BATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorStep:
    """One parameter in one step, before the update where nothing else is said."""

    gradient_mean: float | None
    """Mean magnitude of the gradient; ``None`` without a gradient."""
    gradient_norm: float | None
    gradient_spread: float | None
    """From the 5th to the 95th percentile."""
    gradient_zeros: float | None
    """Share of zeros."""
    variance: float
    update_ratio: float
    """Mean magnitude of the update over the mean magnitude of the parameter and 1e-9."""
    unchanged: bool
    """The update is within numpy.allclose's tolerances."""
    finite: bool
    """The parameter and its gradient are."""


@dataclass(slots=True, kw_only=True)
class Recorded:
    """What the baselines are given."""

    sizes: dict[str, int] = field(default_factory=dict)
    """Elements of each trainable parameter, in order of construction."""
    dims: dict[str, int] = field(default_factory=dict)
    """Axes of each of them."""
    parameters: dict[str, list[TensorStep]] = field(default_factory=dict)
    active: dict[str, list[list[float]]] = field(default_factory=dict)
    """ReLU: share of positive outputs per unit (channel or feature), by step."""
    inside: dict[str, list[list[float]]] = field(default_factory=dict)
    """Tanh and sigmoid: share of inputs within the published bounds per unit, by step."""
    relu_inputs: dict[str, list[float]] = field(default_factory=dict)
    """Variance of the inputs of ReLU layers, by step."""
    stopped: bool = False
    """A step raised, because of numbers that are none."""
    nonfinite_outputs: int = 0
    """Runs of modules whose output held a number that is not finite."""
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    """Of classifications, on the batch of the step."""


_TANH = (-9.4999, 9.4999)
_SIGMOID = (-23.0, 16.99999)
"""SaturatedActivation's published bounds."""


def _units(x: torch.Tensor) -> torch.Tensor:
    """Units in the last axis: channels of maps, else features."""
    return x.movedim(1, -1).flatten(0, -2) if x.ndim == 4 else x.flatten(0, -2)


def _hooks(model: nn.Module, recorded: Recorded) -> Callable[[], None]:
    """Record outputs until the function that is returned is called."""

    def hook_of(name: str, module: nn.Module) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
            if not isinstance(output, torch.Tensor) or not output.is_floating_point():
                return
            recorded.nonfinite_outputs += int(not output.detach().isfinite().all())
            if isinstance(module, nn.ReLU):
                recorded.active.setdefault(name, []).append((_units(output.detach()) > 0).float().mean(dim=0).tolist())
                recorded.relu_inputs.setdefault(name, []).append(float(inputs[0].detach().var()))
            elif isinstance(module, nn.Tanh | nn.Sigmoid):
                low, high = _TANH if isinstance(module, nn.Tanh) else _SIGMOID
                values = _units(inputs[0].detach())
                recorded.inside.setdefault(name, []).append(((values > low) & (values < high)).float().mean(dim=0).tolist())

        return hook

    handles = [module.register_forward_hook(hook_of(name, module)) for name, module in model.named_modules()]
    return lambda: [handle.remove() for handle in handles] and None


def _tensor_step(before: torch.Tensor, gradient: torch.Tensor | None, after: torch.Tensor) -> TensorStep:
    change = (after - before).abs()
    finite = bool(before.isfinite().all()) and (gradient is None or bool(gradient.isfinite().all()))
    spread = None
    if gradient is not None and finite:
        low, high = torch.quantile(gradient.flatten()[:1_000_000], torch.tensor([0.05, 0.95]))
        spread = float(high - low)
    return TensorStep(
        gradient_mean=None if gradient is None else float(gradient.abs().mean()),
        gradient_norm=None if gradient is None else float(gradient.norm()),
        gradient_spread=spread,
        gradient_zeros=None if gradient is None else float((gradient == 0).float().mean()),
        variance=float(before.var()) if before.numel() > 1 else 0.0,
        update_ratio=float(change.mean() / (before.abs().mean() + 1e-9)),
        unchanged=torch.allclose(after, before, rtol=1e-5, atol=1e-8),
        finite=finite,
    )


def record(network: Network) -> Recorded:
    """Run the steps and record them; a step that raises ends the recording."""
    setup = network.setup()
    optimizer = setup.new_optimizer()
    recorded = Recorded()
    watched = {name: parameter for name, parameter in setup.model.named_parameters() if parameter.requires_grad}
    recorded.sizes = {name: parameter.numel() for name, parameter in watched.items()}
    recorded.dims = {name: parameter.ndim for name, parameter in watched.items()}
    recorded.parameters = {name: [] for name in watched}
    setup.model.train()
    remove = _hooks(setup.model, recorded)
    for *inputs, target in batches(network, setup):
        optimizer.zero_grad()
        try:
            output = setup.model(*inputs)
            loss = setup.task.loss(output, target)
            loss.backward()
        except ValueError:  # Some norms and losses refuse what is not a number.
            recorded.stopped = True
            break
        before = {name: parameter.detach().clone() for name, parameter in watched.items()}
        optimizer.step()
        recorded.losses.append(loss.item())
        if setup.task.classes is not None:
            recorded.accuracies.append(float((output.argmax(dim=1) == target).float().mean()))
        for name, parameter in watched.items():
            recorded.parameters[name].append(_tensor_step(before[name], parameter.grad, parameter.detach()))
    remove()
    return recorded
