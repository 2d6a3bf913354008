"""The modes of torch that a probe is called in, set aside while it runs, and those who watch its model, told to look away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

__all__ = ["observed", "set_aside", "surrounding_cast"]


@dataclass(frozen=True, slots=True, eq=False)
class _Observer:
    """Someone who counts what happens to a model as its training."""

    model: nn.Module
    pause: Callable[[], None]
    resume: Callable[[], None]


_OBSERVERS: list[_Observer] = []


@contextmanager
def observed(model: nn.Module, pause: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """Have ``pause`` called before each probe of the model or a part of it, and ``resume`` after it, while the block lasts."""
    observer = _Observer(model, pause, resume)
    _OBSERVERS.append(observer)
    try:
        yield
    finally:
        _OBSERVERS.remove(observer)


def surrounding_cast(device: torch.device) -> torch.dtype | None:
    """The dtype of the automatic mixed precision that is on; ``None`` where it is off."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


@contextmanager
def set_aside(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Run the block outside of inference mode and of autocast, and unseen by those who observe the model."""
    with ExitStack() as stack:
        for observer in _observers_of(model):
            observer.pause()
            stack.callback(observer.resume)
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(mode=False))
        for kind in dict.fromkeys(("cpu", device.type)):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        # Autocast keeps weights that it has cast until the outermost block ends: here they are changed, and then put back.
        torch.clear_autocast_cache()
        stack.callback(torch.clear_autocast_cache)
        yield


def _observers_of(model: nn.Module) -> list[_Observer]:
    """Those whose model has a module or a parameter in common with this one."""
    mine = _identities(model)
    return [observer for observer in _OBSERVERS if not mine.isdisjoint(_identities(observer.model))]


def _identities(model: nn.Module) -> set[int]:
    return {id(part) for part in (*model.modules(), *model.parameters())}
