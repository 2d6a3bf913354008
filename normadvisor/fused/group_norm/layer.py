"""GroupNorm + activation as a layer."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from normadvisor.fused.common.activations import DEFAULT_SLOPE, check_activation
from normadvisor.fused.group_norm.functional import group_norm_act

__all__ = ["FusedGroupNormAct", "run_group_norm"]

# One node in graphs of torch.fx, which cannot follow a choice by device.
torch.fx.wrap("group_norm_act")


def run_group_norm(module: nn.GroupNorm, x: Tensor, act: str = "none", negative_slope: float = DEFAULT_SLOPE) -> Tensor:
    """Run a GroupNorm layer and the activation behind it as one operation, see :func:`normadvisor.fused.group_norm_act`.

    Args:
        module: whose parameters and settings are taken.
        x: (N, C, *spatial).
        act: one of :data:`normadvisor.fused.ACTIVATIONS`.
        negative_slope: of ``leaky_relu``.

    """
    return group_norm_act(x, module.num_groups, module.weight, module.bias, module.eps, act=act, negative_slope=negative_slope)


class FusedGroupNormAct(nn.GroupNorm):
    """:class:`torch.nn.GroupNorm` with the activation behind it, on fused kernels where there are any for the input.

    Arguments and ``state_dict`` are those of :class:`torch.nn.GroupNorm`; ``num_groups=num_channels`` is instance normalization.

    Args:
        num_groups: divides ``num_channels``.
        num_channels: C of inputs (N, C, *spatial).
        eps: added to the variance.
        affine: whether there are a weight and a bias, (C) each.
        device: of the parameters.
        dtype: of the parameters.
        bias: whether there is a bias beside the weight.
        act: one of :data:`normadvisor.fused.ACTIVATIONS`.
        negative_slope: of ``leaky_relu``.

    Raises:
        ValueError: ``num_groups`` does not divide ``num_channels``, or there is no such activation.

    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,  # noqa: FBT002 (as torch.nn.GroupNorm)
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
        act: str = "none",
        negative_slope: float = DEFAULT_SLOPE,
    ) -> None:
        super().__init__(num_groups, num_channels, eps, affine, device, dtype)
        if not bias:
            self.register_parameter("bias", None)  # Older versions of torch do not have the argument.
        self.act = check_activation(act)
        self.negative_slope = negative_slope

    @classmethod
    def from_module(cls, original: nn.Module, act: str = "none", negative_slope: float = DEFAULT_SLOPE) -> Self:
        """Give a layer that holds the very parameters of ``original``, so that optimizers that know them stay valid.

        Raises:
            TypeError: it is no GroupNorm, or one with a forward of its own.

        """
        if not isinstance(original, nn.GroupNorm) or type(original).forward is not nn.GroupNorm.forward:
            raise TypeError(f"{type(original).__name__} may compute something else than torch.nn.GroupNorm")
        fused = cls(original.num_groups, original.num_channels, original.eps, affine=False, act=act, negative_slope=negative_slope)
        fused.affine = original.affine
        fused.weight, fused.bias = original.weight, original.bias
        return fused.train(original.training)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as torch.nn.GroupNorm)
        """Normalize and activate (N, C, *spatial)."""
        return group_norm_act(input, self.num_groups, self.weight, self.bias, self.eps, act=self.act, negative_slope=self.negative_slope)

    def extra_repr(self) -> str:
        """As torch's, with the activation."""
        slope = f", negative_slope={self.negative_slope}" if self.act == "leaky_relu" else ""
        return f"{super().extra_repr()}, act={self.act}{slope}"
