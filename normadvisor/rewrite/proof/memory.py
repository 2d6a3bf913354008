"""How much memory a proof takes, and how much it may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch.nn.parameter import is_lazy

from normadvisor.graph.values import tensors_in

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ActivationCount", "counted_activations", "free_memory", "weight_bytes"]

_BYTES = 8
"""Of one number in float64."""
_INSIDE = 3
"""Values kept for the backward pass per value that a layer without further layers gives; functions between layers keep some, too."""


def weight_bytes(original: nn.Module, changed: nn.Module) -> int:
    """Memory for everything that is as large as the weights of two models.

    Equal weights are shared. Each model has gradients of its own, and a tensor is once more in memory while it is computed.
    """
    (size, largest), (other_size, other_largest) = _sizes(original), _sizes(changed)
    # Both are copied before weights are shared, when there are no gradients yet; later there is one set of weights, and two of gradients.
    return _BYTES * (max(size, other_size) + size + other_size + 2 * max(largest, other_largest))


def _sizes(model: nn.Module) -> tuple[int, int]:
    """Elements of all parameters and buffers, and of the largest."""
    held = dict.fromkeys(tensor for tensor in [*model.parameters(), *model.buffers()] if not is_lazy(tensor))
    sizes = [tensor.numel() for tensor in held]
    return sum(sizes), max(sizes, default=0)


def free_memory() -> int:
    """Bytes that may be taken: what the limit of this process leaves where there is one, and half of what the machine has free."""
    import psutil  # noqa: PLC0415 -- only asked where nobody set a limit

    available: int = psutil.virtual_memory().available
    try:
        import resource  # noqa: PLC0415 -- not there on Windows

        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    except (ImportError, OSError):
        return available // 2
    used = getattr(psutil.Process().memory_info(), "data", None)
    if limit == resource.RLIM_INFINITY or used is None:
        return available // 2
    free: int = min(limit - used, available // 4 * 3)
    return max(0, free)


class ActivationCount:
    """Memory for what a forward pass keeps."""

    def __init__(self) -> None:
        self._elements: int = 0

    def add(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """A forward hook."""
        self._elements += sum(tensor.numel() for tensor in tensors_in(output))

    @property
    def bytes(self) -> int:
        """An estimate, rather too high."""
        return self._elements * _INSIDE * _BYTES


@contextmanager
def counted_activations(model: nn.Module) -> Iterator[ActivationCount]:
    """Counts what layers without further layers give while the block runs."""
    count = ActivationCount()
    leaves = [module for module in model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(count.add) for module in leaves]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()
