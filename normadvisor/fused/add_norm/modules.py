"""Layers that add and normalize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normadvisor.fused.add_norm.registry import implementation as find_implementation
from normadvisor.fused.common.triton_support import INTERPRETED

__all__ = ["FusedAddLayerNorm", "FusedAddRMSNorm", "run_add_norm"]


# torch.fx records the call instead of following it: what it decides depends on devices and shapes.
torch.fx.wrap("_compute")


def _compute(kind: str, implementation: str, *arguments: Any) -> tuple[Tensor, Tensor]:
    result: tuple[Tensor, Tensor] = find_implementation(kind, implementation).run(*arguments)
    return result


def run_add_norm(
    module: nn.LayerNorm | nn.RMSNorm, x: Tensor, residual: Tensor, *, return_sum: bool = True, implementation: str = "fused"
) -> tuple[Tensor, Tensor]:
    """Compute ``module(x + residual)`` and the sum in one operation, with the parameters that ``module`` has now.

    Args:
        module: gives ``normalized_shape``, ``eps``, ``weight`` and ``bias``; its ``forward`` is not called.
        x: ``(*, *normalized_shape)``.
        residual: of the same shape.
        return_sum: whether the sum is used.
        implementation: name of one of :func:`~normadvisor.fused.add_norm.registry.implementations`.

    """
    layer_norm = isinstance(module, nn.LayerNorm)
    kind, bias = ("add_layer_norm", module.bias) if layer_norm else ("add_rms_norm", None)
    return _compute(kind, implementation, x, residual, tuple(module.normalized_shape), module.weight, bias, module.eps, return_sum)


class _AddNorm(nn.Module):
    """What both layers have in common; the other base class is the norm of torch."""

    return_sum: bool
    implementation: str

    @classmethod
    def from_module(cls, original: Any, *, return_sum: bool = True, implementation: str = "fused") -> Self:
        """Make a layer that computes with the parameters of ``original``, the same objects, in its mode.

        Args:
            original: the norm of torch that this layer is named after, or a subclass that computes the same.
            return_sum: whether the sum is used.
            implementation: name of one of :func:`~normadvisor.fused.add_norm.registry.implementations`.

        Raises:
            ValueError: ``original`` is parametrized.

        """
        if parametrize.is_parametrized(original):
            kind = type(original).__name__
            raise ValueError(f"{kind} is parametrized: its parameters are computed anew in every forward and cannot be shared")
        arguments: dict[str, Any] = {"elementwise_affine": False, "return_sum": return_sum, "implementation": implementation}
        module = cls(original.normalized_shape, original.eps, **arguments)
        module.elementwise_affine = original.elementwise_affine
        for name, parameter in original._parameters.items():  # noqa: SLF001 (the objects themselves, None included)
            module.register_parameter(name, parameter)
        return module.train(original.training)

    def forward(self, input: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # noqa: A002 (torch's name)
        """Add and normalize.

        Args:
            input: ``(*, *normalized_shape)``.
            residual: of the same shape; ``None``: there is nothing to add, as before the first block of a network.

        Returns:
            The normalized sum and the sum; without ``return_sum`` ``None`` instead of the sum.

        """
        if residual is None:
            return super().forward(input), input if self.return_sum else None
        if type(input) is Tensor and not (input.is_cuda or INTERPRETED):  # torch.fx traces with something else
            total = input + residual
            return super().forward(total), total if self.return_sum else None
        both = run_add_norm(self, input, residual, return_sum=self.return_sum, implementation=self.implementation)  # type: ignore[arg-type]
        return both[0], both[1] if self.return_sum else None

    def extra_repr(self) -> str:
        """Show what torch shows, and what is unusual."""
        shown = super().extra_repr()
        if not self.return_sum:
            shown += ", return_sum=False"
        return shown if self.implementation == "fused" else f"{shown}, implementation={self.implementation!r}"


class FusedAddLayerNorm(_AddNorm, nn.LayerNorm):  # type: ignore[misc]  # forward takes and gives one more
    """LayerNorm of a sum: ``forward(x, residual)`` gives ``(layer_norm(x + residual), x + residual)``.

    Arguments, parameters and keys of the state dict are those of :class:`torch.nn.LayerNorm`. Where the fused kernels cannot run, torch's
    own operations do.

    Args:
        normalized_shape: trailing dimensions over which mean and variance are computed.
        eps: added to the variance.
        elementwise_affine: whether there are a weight and a bias.
        bias: off: there is a weight only.
        device: of the parameters.
        dtype: of the parameters.
        return_sum: off where the sum is used for nothing else: the second result is then ``None``; what is not stored costs no time.
        implementation: name of one of :func:`~normadvisor.fused.add_norm.registry.implementations`.

    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,  # noqa: FBT002 (as torch)
        bias: bool = True,  # noqa: FBT002 (as torch)
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        return_sum: bool = True,
        implementation: str = "fused",
    ) -> None:
        shape = normalized_shape if isinstance(normalized_shape, int) else list(normalized_shape)
        super().__init__(shape, eps, elementwise_affine, bias, device, dtype)
        self.return_sum = return_sum
        self.implementation = find_implementation("add_layer_norm", implementation).name


class FusedAddRMSNorm(_AddNorm, nn.RMSNorm):  # type: ignore[misc]  # as above
    """RMSNorm of a sum: ``forward(x, residual)`` gives ``(rms_norm(x + residual), x + residual)``.

    Arguments, parameters and keys of the state dict are those of :class:`torch.nn.RMSNorm`. Where the fused kernels cannot run, torch's
    own operations do.

    Args:
        normalized_shape: trailing dimensions over which the mean square is computed.
        eps: added to the mean square; ``None`` is what torch makes of it.
        elementwise_affine: whether there is a weight.
        device: of the parameters.
        dtype: of the parameters.
        return_sum: off where the sum is used for nothing else: the second result is then ``None``; what is not stored costs no time.
        implementation: name of one of :func:`~normadvisor.fused.add_norm.registry.implementations`.

    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,  # noqa: FBT002 (as torch)
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        return_sum: bool = True,
        implementation: str = "fused",
    ) -> None:
        shape = normalized_shape if isinstance(normalized_shape, int) else list(normalized_shape)
        super().__init__(shape, eps, elementwise_affine, device, dtype)
        self.return_sum = return_sum
        self.implementation = find_implementation("add_rms_norm", implementation).name
