"""Run a model for some training steps and measure it: the whole of a probe, from batches to numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from normadvisor.graph.model import ModelGraph
    from normadvisor.targets.inputs import Inputs
    from normadvisor.types import Measurements, ProbeOptions, RunContext

__all__ = ["PHASES", "probe_model"]

PHASES = ("preparing", "steps", "noise", "modes", "overfitting", "restoring")
"""What ``progress`` is told, in order."""


def probe_model(  # noqa: PLR0913 -- what is known about a model and its training, each by its name
    model: nn.Module,
    options: ProbeOptions,
    *,
    inputs: Inputs | None = None,
    batches: Iterable[Any] | None = None,
    loss_fn: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    graph: ModelGraph | None = None,
    target: str = "",
    context: RunContext,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
    ranks: Any = None,
) -> Measurements:
    """Measure a model in training; it, the optimizer and the process are left exactly as they were."""
    raise NotImplementedError
