"""What is measured after the recorded steps: each phase from the weights that the probe found, none of them able to end it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from normadvisor.errors import NormAdvisorError, RankError
from normadvisor.probe.running.attention import measure_attention
from normadvisor.probe.running.modes import measure_modes
from normadvisor.probe.running.noise import measure_noise_scale
from normadvisor.probe.running.nonfinite import find_in_gradient
from normadvisor.probe.running.overfit import measure_overfit
from normadvisor.probe.running.unregistered import measure_unregistered
from normadvisor.targets.inputs.explained import explain_failure

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.probe.running.peak import Peak
    from normadvisor.probe.running.session import Session
    from normadvisor.probe.running.steps import Steps

__all__ = ["measure_beside_steps"]


def measure_beside_steps(
    session: Session,
    steps: Steps,
    peak: Peak,
    *,
    layers: Sequence[str],
    by_layer: Mapping[str, list[str]],
    optimized: Sequence[nn.Parameter],
) -> None:
    """Run every phase that this run admits; one that fails leaves its measurement missing, with what went wrong.

    Args:
        session: of the probe; facts and reasons are noted in ``session.found``.
        steps: the recorded ones.
        peak: looks at the memory after each phase.
        layers: names of the recorded layers.
        by_layer: names of the parameters of each layer.
        optimized: parameters of the user's optimizer.

    """
    if steps.nonfinite_step == 0:
        _explain_first_step(session, steps)
        return

    def noise() -> None:
        with torch.enable_grad():
            measure_noise_scale(session, dict(by_layer))

    _run(session, "unregistered", lambda: measure_unregistered(session, list(optimized)))
    _run(session, "noise_scale", noise)
    peak.look()
    _run(session, "train_eval_gap", lambda: measure_modes(session, list(layers)))
    peak.look()
    _run(session, "attention_peak", lambda: measure_attention(session))
    if session.options.static_only:
        session.found.missing["overfit"] = "not asked for"
        return
    _run(session, "overfit", lambda: measure_overfit(session))


def _explain_first_step(session: Session, steps: Steps) -> None:
    if math.isfinite(steps.losses[0]) and session.ranks.world_size == 1:
        session.fresh()  # the first step began like this
        steps.cause = find_in_gradient(session, session.source.batch(0))
    for key in ("noise_scale", "train_eval_gap", "overfit"):
        session.found.missing[key] = "the first step was not finite already"


def _run(session: Session, key: str, phase: Callable[[], None]) -> None:
    """One phase. Where several processes take it together, what fails in one of them has to end it in all."""
    session.fresh()
    try:
        phase()
    except RankError:
        raise
    except Exception as error:
        if session.ranks.world_size > 1:
            raise
        words = error.message if isinstance(error, NormAdvisorError) else explain_failure(session.model, error).words
        session.found.missing[key] = f"it failed: {words}"
