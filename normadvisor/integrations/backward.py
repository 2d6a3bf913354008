"""Where a backward pass ends: all gradients of the pass are there, and nobody clipped them yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.autograd import Variable
from torch.nn.parameter import UninitializedParameter
from torch.utils._pytree import tree_leaves

from normadvisor.probe.recording.own_hook import OwnHook

__all__ = ["BackwardEnd", "in_backward"]


class BackwardEnd:
    """Call a function at the end of every backward pass that reaches one of some tensors, while :meth:`of` lasts.

    Where parts of a model are run again in the backward pass (reentrant ``torch.utils.checkpoint``), the passes inside end too, and the
    function is called for each; the last call finds all gradients.

    Args:
        ended: called without arguments, in the thread that called ``backward``.

    """

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._active = False
        self._queued = False
        self.incomplete = False
        """Whether there are parameters that have no shape yet, and so cannot be looked at."""

    @contextmanager
    def of(self, parameters: Iterable[torch.nn.Parameter]) -> Iterator[None]:
        """Look out for passes that reach a parameter; those that require no gradient are passed over."""
        self._active, self._queued, self.incomplete = True, False, False
        with ExitStack() as stack:
            for parameter in parameters:
                if isinstance(parameter, UninitializedParameter):
                    self.incomplete = True
                elif parameter.requires_grad:
                    handle = parameter.register_post_accumulate_grad_hook(OwnHook(self._reached))  # type: ignore[no-untyped-call]
                    stack.callback(handle.remove)
            try:
                yield
            finally:
                self._active = False

    def behind(self, output: Any) -> None:
        """Look out for passes that come through a tensor of ``output`` as well: those of sharded or lazy parameters leave no trace."""
        for tensor in tree_leaves(output):
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                tensor.register_hook(OwnHook(self._reached))  # type: ignore[no-untyped-call]

    def _reached(self, _: torch.Tensor) -> None:
        if self._active and not self._queued:
            self._queued = True
            _queue(self._behind)

    def _behind(self) -> None:
        # Data-parallel wrappers queue the end of their reduction while the pass runs; queued now, ours comes after theirs.
        _queue(self._finish)

    def _finish(self) -> None:
        self._queued = False
        if self._active:
            self._ended()


def in_backward() -> bool:
    """Whether this thread is in a backward pass."""
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001 - what torch's own hooks for several gradients ask


def _queue(function: Callable[[], None]) -> None:
    Variable._execution_engine.queue_callback(function)  # noqa: SLF001 - the way that torch's own data-parallel wrappers take
