"""How much memory a call takes at its peak."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from normadvisor.graph.values import tensors_in

__all__ = ["peak_bytes"]


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """Bytes that tensors made during a call take at most at one time, beyond what was there before.

    On a GPU its allocator tells. Elsewhere the memory of every tensor that an operation gives is counted from when it is made until
    it is freed; what an operation needs within itself is not.

    Raises:
        Exception: whatever the call raises.

    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return max(0, torch.cuda.max_memory_allocated(device) - before)
    count = _Count()
    with count:
        run()
    return count.peak


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the memory of tensors as it comes and goes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        # What an operation is given was there before: a view of it, or the result of working in place, is nothing new.
        given = {storage._cdata for storage in _storages((args, kwargs or {}))}  # noqa: SLF001 -- as torch's own tracker
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            key, size = storage._cdata, storage.nbytes()  # noqa: SLF001
            if key not in given and key not in self._known:
                self._known.add(key)
                self._now += size
                weakref.finalize(storage, self._freed, key, size)
        self.peak = max(self.peak, self._now)
        return result

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


def _storages(value: Any) -> Iterator[torch.UntypedStorage]:
    """Of every dense tensor in a nested value."""
    for tensor in tensors_in(value):
        if tensor.layout is torch.strided:
            yield tensor.untyped_storage()
