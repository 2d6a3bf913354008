"""The gradient noise scale: how many samples a step needs until its gradient says more than its noise."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from normadvisor.probe.recording.recorder import Recorder
from normadvisor.probe.running.failures import failure, ran_out_of_memory
from normadvisor.probe.running.session import Session

__all__ = ["measure_noise_scale"]

BATCHES = 8
"""Batches compared."""
LEAST = 4
"""Fewest batches from which a scale is told."""
SHARE = 0.75
"""Share of the budget after which this phase is cut short."""


@dataclass(slots=True)
class _Sums:
    """Squared norms of one layer's gradients."""

    single: float = 0.0
    """Sum over batches of the squared norm."""
    total: dict[int, Tensor] = field(default_factory=dict)
    """Sum of the gradients over batches, by parameter."""

    def scale(self, batches: int, size: float) -> float | None:
        """The noise scale in samples; ``None`` where the mean gradient does not stand out from the noise.

        With ``g_k`` the gradients of ``n`` batches of ``B`` samples, ``n / (n - 1) * (mean |g_k|^2 - |mean g_k|^2)`` is an unbiased
        estimate of the noise ``S / B``, and ``|mean g_k|^2 - S / (n B)`` of the true gradient's squared norm (McCandlish et al., 2018,
        appendix A.1, with one large batch made of the small ones). The scale is their quotient.
        """
        mean = sum(float(held.double().square().sum()) for held in self.total.values()) / batches**2
        noise = batches / (batches - 1) * (self.single / batches - mean)
        signal = mean - noise / batches
        # The signal's own error is about noise / batches * sqrt(2 / dimension); below a tenth of that share it is not told from zero.
        if noise < 0 or signal <= 0.1 * noise / batches:
            return None
        return noise / signal * size


def measure_noise_scale(session: Session, recorded: dict[str, list[str]]) -> None:
    """Compare the gradients of several batches at the same weights; writes ``noise_scale`` into the facts of run and layers.

    Args:
        session: as it was found, seeded, with a loss.
        recorded: names of parameters by layer.

    """
    found = session.found
    if not session.differentiable:
        found.missing["noise_scale"] = "the loss does not depend on a trainable parameter"
        return
    if not session.source.real:
        found.missing["noise_scale"] = "batches are random, so the noise of their gradients is that of no data set"
        return
    count = session.ranks.least(session.source.count or 0)
    if count < LEAST:
        found.missing["noise_scale"] = f"{count} different batches are too few to compare: at least {LEAST} are needed"
        return
    batches = session.ranks.least(session.budget.passes(min(BATCHES, count), LEAST, session.budget.step, SHARE))
    if batches == 0:
        found.missing["noise_scale"] = f"no time was left of {session.budget.seconds:g} s"
        return
    try:
        _measure(session, recorded, batches)
    except Exception as error:
        if session.ranks.world_size > 1:
            raise
        words = "memory ran out" if ran_out_of_memory(error) else failure(session.model, "a step failed", error).message
        found.missing["noise_scale"] = words


def _measure(session: Session, recorded: dict[str, list[str]], batches: int) -> None:
    parameters = {name: p for name, p in session.model.named_parameters() if p.requires_grad}
    layer_of = {name: layer for layer, names in recorded.items() for name in names}
    sums: dict[str, _Sums] = {"": _Sums()}
    sizes: list[int] = []
    for number in range(batches):
        session.progress("noise", number, batches)
        batch = session.source.batch(number)
        if batch.size is None:
            session.found.missing["noise_scale"] = "samples of a batch cannot be told apart"
            return
        sizes.append(batch.size)
        _, loss = session.output_and_loss(batch)
        torch.autograd.backward(loss)
        for index, (name, parameter) in enumerate(parameters.items()):
            gradient = parameter.grad
            if gradient is None:
                continue
            gradient = gradient.to_dense() if gradient.is_sparse else gradient
            gradient = torch.view_as_real(gradient) if gradient.is_complex() else gradient
            held = sums.setdefault(f"layer {layer_of[name]}" if name in layer_of else "elsewhere", _Sums())
            square = float(gradient.double().square().sum())
            held.single += square
            sums[""].single += square
            if index in held.total:
                held.total[index] += gradient
            else:
                held.total[index] = gradient.detach().float().clone()
            sums[""].total[index] = held.total[index]
            parameter.grad = None
    session.progress("noise", batches, batches)
    size = len(sizes) / sum(1 / number for number in sizes)  # noise falls with 1 / size, so the harmonic mean stands for all
    for key, held in sums.items():
        scale = held.scale(batches, size)
        if key.startswith("layer "):
            session.found.layer(key.removeprefix("layer "), "noise_scale", scale)
        elif not key:
            why = "the mean gradient does not stand out from the noise: the scale is beyond what these batches show"
            session.found.fact("noise_scale", scale, why)


def parameters_by_layer(recorder: Recorder, session: Session) -> dict[str, list[str]]:
    """Names of the parameters that each recorded layer holds itself."""
    layers = {layer.name for layer in recorder.layers()}
    found: dict[str, list[str]] = {}
    for name, parameter in session.model.named_parameters():
        owner = name.rpartition(".")[0]
        if owner in layers and parameter.requires_grad:
            found.setdefault(owner, []).append(name)
    return found
