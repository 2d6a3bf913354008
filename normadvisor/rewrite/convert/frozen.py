"""BatchNorm that never changes again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FrozenBatchNorm"]


class FrozenBatchNorm(nn.Module):
    """Normalizes with fixed statistics, scale and shift, in train and in eval mode alike.

    The same numbers as ``BatchNorm`` in eval mode, bit for bit, for any number of axes. Everything is a buffer: nothing is trained, nothing
    moves. The keys are those of ``BatchNorm``, so its checkpoints load.

    Args:
        num_features: channels, axis 1 of the input.
        eps: added to the variance.
        affine: whether there are scale and shift.
        device: of the buffers.
        dtype: of the buffers.

    Shapes:
        input and output: ``(N, C)`` or ``(N, C, *)``.

    """

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        *,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.affine = num_features, eps, affine

        def filled(value: float) -> Tensor:
            return torch.full((num_features,), value, device=device, dtype=dtype or torch.get_default_dtype())

        self.register_buffer("weight", filled(1.0) if affine else None)
        self.register_buffer("bias", filled(0.0) if affine else None)
        self.register_buffer("running_mean", filled(0.0))
        self.register_buffer("running_var", filled(1.0))
        self.register_buffer("num_batches_tracked", torch.zeros((), device=device, dtype=torch.long))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch calls it
        """Normalize."""
        return functional.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps)

    def extra_repr(self) -> str:
        """Arguments."""
        return f"{self.num_features}, eps={self.eps}, affine={self.affine}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        # Checkpoints of torch before 0.4.1 and of other frozen norms do not count batches.
        key = f"{prefix}num_batches_tracked"
        if self.num_batches_tracked is not None and key not in state_dict:
            state_dict[key] = self.num_batches_tracked
        super()._load_from_state_dict(state_dict, prefix, *more)
