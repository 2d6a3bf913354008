"""Comparison of an operation with itself in float64: by how much a kernel may be wrong is said in times of torch's own error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["gradients", "in_float64", "relative_error"]


def in_float64(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Give the same arguments with floating-point tensors in float64, detached; those that take gradients still take them."""
    return tuple(_wide(argument) for argument in arguments)


def _wide(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().double().requires_grad_(value.requires_grad)
    return value


def gradients(function: Callable[..., Any], arguments: Sequence[Any], seeds: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Run ``function`` forward and backward.

    Args:
        function: gives a tensor or a tuple of tensors.
        arguments: of the function; those that require gradients get one.
        seeds: gradient of each output, cast to its dtype.

    Returns:
        All outputs, then the gradient of every argument that requires one, in order.

    """
    outputs = function(*arguments)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    wanted = [argument for argument in arguments if isinstance(argument, Tensor) and argument.requires_grad]
    found = torch.autograd.grad(outputs, wanted, [seed.to(output.dtype) for seed, output in zip(seeds, outputs, strict=True)])
    return (*(output.detach() for output in outputs), *found)


def relative_error(actual: Tensor, exact: Tensor) -> float:
    """Largest difference from ``exact`` (float64), relative to its largest finite entry; infinite where one is NaN and the other is not."""
    if actual.shape != exact.shape:
        raise ValueError(f"shapes differ: {tuple(actual.shape)} and {tuple(exact.shape)}")
    if exact.numel() == 0:
        return 0.0
    wide = actual.double()
    if not torch.equal(wide.isfinite(), exact.isfinite()):
        return float("inf")
    finite = exact.isfinite()
    if not finite.any():
        return 0.0
    scale = float(exact[finite].abs().max())
    difference = float((wide[finite] - exact[finite]).abs().max())
    return difference / scale if scale > 0 else difference
