"""Measure the layers of a model step by step, without changing what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import torch
from torch import nn

from normadvisor.types import LayerMeasurements, Series

__all__ = ["Recorder"]


class Recorder:
    """Record what :data:`normadvisor.types.LAYER_SERIES` names, for every layer and step.

    A layer is a module that holds parameters itself, a norm, or an activation. A step is told by :meth:`begin_step`,
    :meth:`after_backward` and :meth:`end_step`, or, with ``automatic``, noticed: it starts with a forward pass in which gradients are
    enabled, its gradients are read where a backward pass ends (before they are clipped; the last backward pass before the optimizer's
    step counts), and it ends with the optimizer's step, or with the next forward pass where no optimizer is given.

    Args:
        model: wrappers of data-parallel training and ``torch.compile`` are seen through; names are those of the wrapped model.
        optimizer: whose steps end a step when ``automatic``.
        exact: reduce whole activations instead of samples of large ones.
        ops: canonical operation by module name, ``None`` for those that are none; by default those of ``torch.nn``'s own classes.
        seed: of the sampled positions; the random states of torch, numpy and Python are never touched.
        activations: measure outputs and their gradients too, not only parameters.
        automatic: notice steps.
        every: record one of so many noticed steps, the first included; in between no module has a hook but ``model`` itself.
        on_step: called with the recorder after each recorded step.

    """

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        exact: bool = False,
        ops: Mapping[str, str | None] | None = None,
        seed: int = 0,
        activations: bool = True,
        automatic: bool = False,
        every: int = 1,
        on_step: Callable[[Recorder], None] | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def steps(self) -> int:
        """Steps recorded so far."""
        raise NotImplementedError

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the numbers should know."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        raise NotImplementedError

    def begin_step(self) -> None:
        """Start a step; what was seen of one that never ended is dropped."""
        raise NotImplementedError

    def after_backward(self, scale: float = 1.0) -> None:
        """Read the gradients as they are now, divided by the loss ``scale``; nothing waits for the device.

        Call it before gradients are unscaled or clipped. Called again in the same step, it reads anew.
        """
        raise NotImplementedError

    def end_step(self) -> None:
        """End the step, after the optimizer's: one transfer from each device brings its numbers."""
        raise NotImplementedError

    def pause(self) -> None:
        """Record nothing until :meth:`resume`."""
        raise NotImplementedError

    def resume(self) -> None:
        """Record again."""
        raise NotImplementedError

    @contextmanager
    def paused(self) -> Iterator[None]:
        """:meth:`pause` for a block."""
        raise NotImplementedError
        yield

    def layers(self) -> tuple[LayerMeasurements, ...]:
        """All layers in order of first execution, with the numbers of every recorded step."""
        raise NotImplementedError

    def series(self) -> dict[str, Series]:
        """``grad_norm``, ``update_ratio`` and ``loss_scale`` of all parameters together, by step."""
        raise NotImplementedError

    def last(self) -> dict[str, dict[str, float]]:
        """Numbers of the last recorded step, by layer and key."""
        raise NotImplementedError
