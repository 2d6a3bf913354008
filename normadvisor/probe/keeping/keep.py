"""Put a model, an optimizer and the process back exactly as they were."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from normadvisor.probe.distributed.live import reshard
from normadvisor.probe.keeping.attributes import Attributes
from normadvisor.probe.keeping.process import Process
from normadvisor.probe.keeping.tensors import Tensors

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Kept", "kept"]


class Kept:
    """A snapshot of a model, an optimizer, and of what of the process a training step may change.

    Of the model, every module's class and attributes: parameters and buffers (persistent or not) as the same objects over the same
    memory, with every bit of it; gradients, ``requires_grad``, modes, hooks and their order, submodules; tensors, arrays, generators and
    plain values that modules hold otherwise, such as counters and caches, also in lists and dictionaries. Lazy modules become lazy again.
    Of the optimizer its groups and states. Of the process the random states of Python, numpy and torch on every device in use, the switches
    of ``torch.backends``, autocast, gradient mode, default dtype and device, determinism, and hooks on all modules.

    Not remembered: attributes of classes, global variables, files, and what objects hold that are neither modules nor builtin containers.

    It costs a copy of every parameter, buffer and gradient (and of what the optimizer holds), :attr:`size` bytes, on the device where they
    are; copies of CUDA tensors go to the CPU when they would take more than half of the memory that is free. A parameter without gradient
    has no copy of one.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        self._model = model
        reshard(model)
        self._process = Process()
        self._tensors = Tensors()
        self._attributes = Attributes(self._tensors)
        self._modes = [(name, module, module.training) for name, module in model.named_modules()]
        for name, module in model.named_modules():
            self._attributes.add(module, name)
        # What scripted modules hold shows only in these.
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self._tensors.add(tensor, name)
        if optimizer is not None:
            self._attributes.add(optimizer, "optimizer")

    @property
    def size(self) -> int:
        """Bytes of the copies."""
        return self._tensors.size

    def restore(self) -> None:
        """Put everything back, bit by bit, into the same objects.

        What can be put back is, even if something cannot; the first error is raised at the end.
        """
        with ExitStack() as stack:
            # Last in, first out. Attributes come before tensors: those that were bound to other names are known by themselves.
            stack.callback(self._process.restore)
            stack.callback(self._restore_modes)
            stack.callback(self._tensors.restore)
            stack.callback(self._attributes.restore)
            stack.callback(reshard, self._model)

    def _restore_modes(self) -> None:
        for _, module, training in self._modes:
            if module.training != training:
                module.training = training

    def verify(self) -> list[str]:
        """Everything that is not as it was when the snapshot was taken, in words; empty when all is."""
        modes = [f"{name}: is in another mode" for name, module, training in self._modes if module.training != training]
        return [*self._attributes.differences(), *self._tensors.differences(), *modes, *self._process.differences()]


@contextmanager
def kept(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Iterator[Kept]:
    """Put back, at the end of the block and on any exception, everything that it changed; see :class:`Kept`.

    Ask :meth:`Kept.verify` afterwards whether that succeeded.
    """
    state = Kept(model, optimizer)
    try:
        yield state
    finally:
        with _uninterrupted():
            state.restore()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the block is through, as a model that is half restored is of no use."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting and callable(before):
            before(*waiting[-1])
