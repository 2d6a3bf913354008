"""Where a backward pass ends: all gradients of the pass are there, and nobody clipped them yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import torch
from torch.autograd import Variable

__all__ = ["BackwardEnd", "in_backward"]


class BackwardEnd:
    """Call a function at the end of every backward pass that reaches a parameter, while the context lasts.

    Where parts of a model are run again in the backward pass (reentrant ``torch.utils.checkpoint``), the passes inside end too, and the
    function is called for each; the last call finds all gradients.

    Args:
        parameters: those that require no gradient are passed over.
        ended: called without arguments, in the thread that called ``backward``.

    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], ended: Callable[[], None]) -> None:
        self._parameters = list(parameters)
        self._ended = ended
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._queued = False

    def __enter__(self) -> Self:
        self._queued = False
        for parameter in self._parameters:
            if parameter.requires_grad:
                self._handles.append(parameter.register_post_accumulate_grad_hook(self._arrived))  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _arrived(self, _: torch.Tensor) -> None:
        if not self._queued:
            self._queued = True
            _queue(self._behind)

    def _behind(self) -> None:
        # Data-parallel wrappers queue the end of their reduction while the pass runs; queued now, ours comes after theirs.
        _queue(self._finish)

    def _finish(self) -> None:
        self._queued = False
        if self._handles:
            self._ended()


def in_backward() -> bool:
    """Whether this thread is in a backward pass."""
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001 - what torch's own hooks for several gradients ask


def _queue(function: Callable[[], None]) -> None:
    Variable._execution_engine.queue_callback(function)  # noqa: SLF001 - the way that torch's own data-parallel wrappers take
