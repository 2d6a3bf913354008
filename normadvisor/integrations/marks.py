"""What tells whether gradients were cleared or weights changed since a moment, at the cost of a few numbers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

__all__ = ["Marks"]

_COMPARED = 8
"""Parameters of which values are compared: an update that leaves no trace in versions, such as that of ``parameter.data``, changes all."""
_VALUES = 16
"""Values compared of each."""


class Marks:
    """The state of gradients and weights when this was made.

    Args:
        parameters: those without a gradient are passed over.
        values: compare some values too, which waits for the device.

    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], *, values: bool) -> None:
        known = [parameter for parameter in parameters if parameter.grad is not None]
        self._gradients = [(parameter, *_state(parameter.grad)) for parameter in known]
        self._weights = [(parameter, *_state(parameter)) for parameter in known]
        self._values = [(parameter, _some(parameter)) for parameter in known[:_COMPARED]] if values else []

    def gradients_changed(self) -> bool:
        """Whether a gradient was removed, replaced or written to, as between steps but not between backward passes of one step."""
        return any(_state(parameter.grad) != (identity, version) for parameter, identity, version in self._gradients)

    def weights_changed(self) -> bool:
        """Whether a weight was written to."""
        written = any(_state(parameter) != (identity, version) for parameter, identity, version in self._weights)
        return written or any(not torch.equal(_some(parameter), values) for parameter, values in self._values)


def _state(tensor: torch.Tensor | None) -> tuple[int, int]:
    """Identity and version; no reference is kept, so that a gradient is freed when it was to be."""
    return (0, 0) if tensor is None else (id(tensor), tensor._version)  # noqa: SLF001 - the documented counter of in-place operations


def _some(parameter: torch.nn.Parameter) -> torch.Tensor:
    values = parameter.detach()
    while values.dim() > 1:  # no reshape, which copies what is not contiguous
        values = values[:1].squeeze(0) if values.shape[0] else values.new_empty(0)
    return values[:_VALUES].clone() if values.dim() else values.clone()
