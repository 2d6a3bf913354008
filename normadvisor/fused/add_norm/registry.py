"""Who can compute add + norm: the kernels of this package, torch's own operations, and other packages where they are installed.

Which is fastest depends on GPU, shape and dtype, so it is measured where it matters; here they have one signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from normadvisor.fused.add_norm.functional import add_layer_norm, add_norm_in_torch, add_rms_norm, supported
from normadvisor.fused.common.implementations import Implementation, find, present
from normadvisor.fused.common.triton_support import enabled

__all__ = ["IMPLEMENTATIONS", "implementation", "implementations"]

Shape = Sequence[int]
Result = tuple[Tensor, Tensor]
_LIGER_COLUMNS = 65536


def implementations(kind: str) -> tuple[Implementation, ...]:
    """Give those that are installed.

    All are called with ``(x, residual, normalized_shape, weight, bias, eps, return_sum)`` and give the normalized sum and the sum.

    Args:
        kind: ``add_layer_norm`` or ``add_rms_norm``, for which ``bias`` is ``None``.

    """
    return present(IMPLEMENTATIONS[kind])


def implementation(kind: str, name: str) -> Implementation:
    """Give one by its name.

    Raises:
        ValueError: there is none, or it is not installed.

    """
    return find(IMPLEMENTATIONS[kind], name)


def _fused_layer_norm(  # noqa: PLR0917 (one signature for all)
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: FBT001
) -> Result:
    return add_layer_norm(x, residual, shape, weight, bias, 1e-5 if eps is None else eps, return_sum=return_sum)


def _fused_rms_norm(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: ARG001, FBT001
) -> Result:
    return add_rms_norm(x, residual, shape, weight, eps, return_sum=return_sum)


def _refuses_layer_norm(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: ARG001, FBT001
) -> str:
    return supported(x, residual, shape, weight, bias, eps)


def _refuses_rms_norm(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: ARG001, FBT001
) -> str:
    return supported(x, residual, shape, weight, None, eps, center=False)


def _torch_layer_norm(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: ARG001, FBT001
) -> Result:
    return add_norm_in_torch(x, residual, shape, (weight, bias), eps, center=True)


def _torch_rms_norm(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: ARG001, FBT001
) -> Result:
    return add_norm_in_torch(x, residual, shape, (weight, None), eps, center=False)


def _never(*_: Any) -> str:
    return ""


def _refuses_others(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: ARG001, FBT001
) -> str:
    """What the RMSNorm kernels of other packages need: rows over one dimension, one dtype, a weight and an eps."""
    if not enabled():
        return "fused kernels are switched off"
    if x.device.type != "cuda":
        return f"on {x.device.type} torch's own operations are the fast ones"
    if len(shape) != 1 or x.shape != residual.shape or tuple(x.shape[-1:]) != tuple(shape):
        return "needs two tensors of one shape and rows along the last dimension"
    if weight is None or eps is None:
        return "needs a weight and an eps"
    if len({x.dtype, residual.dtype, weight.dtype}) > 1 or x.dtype not in {torch.float32, torch.float16, torch.bfloat16}:
        return "needs one dtype: float32, float16 or bfloat16"
    if torch.is_autocast_enabled("cuda"):
        return "autocast may want another dtype"
    return ""


def _refuses_quack(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: FBT001
) -> str:
    reason = _refuses_others(x, residual, shape, weight, bias, eps, return_sum)
    return reason or ("" if torch.cuda.get_device_capability(x.device) >= (9, 0) else "needs compute capability 9.0")


def _refuses_liger(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: FBT001
) -> str:
    reason = _refuses_others(x, residual, shape, weight, bias, eps, return_sum)
    return reason or ("" if shape[0] <= _LIGER_COLUMNS else f"takes rows of at most {_LIGER_COLUMNS} elements")


def _quack_rms_norm(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: FBT001
) -> Result:
    if _refuses_quack(x, residual, shape, weight, bias, eps, return_sum) or x.numel() == 0:
        return _torch_rms_norm(x, residual, shape, weight, bias, eps, return_sum)
    # prenorm: the sum is given back, too.
    result: Result = import_module("quack").rmsnorm(x, weight, residual=residual, eps=eps, prenorm=True)
    return result


def _liger_rms_norm(  # noqa: PLR0917
    x: Tensor, residual: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, return_sum: bool  # noqa: FBT001
) -> Result:
    if _refuses_liger(x, residual, shape, weight, bias, eps, return_sum) or x.numel() == 0:
        return _torch_rms_norm(x, residual, shape, weight, bias, eps, return_sum)
    function = import_module("liger_kernel.ops.fused_add_rms_norm").LigerFusedAddRMSNormFunction
    # `gemma`: everything in float32, as in torch; offset 0: the weight is not 1 + weight; and gradients are not overwritten.
    result: Result = function.apply(x, residual, weight, eps, 0.0, "gemma", False)
    return result


_PACKAGES = {
    "quack": Implementation(name="quack", run=_quack_rms_norm, refuses=_refuses_quack, package="quack"),
    "liger": Implementation(name="liger", run=_liger_rms_norm, refuses=_refuses_liger, package="liger_kernel"),
}
IMPLEMENTATIONS: Mapping[str, tuple[Implementation, ...]] = {
    "add_layer_norm": (
        Implementation(name="fused", run=_fused_layer_norm, refuses=_refuses_layer_norm),
        Implementation(name="torch", run=_torch_layer_norm, refuses=_never),
    ),
    "add_rms_norm": (
        Implementation(name="fused", run=_fused_rms_norm, refuses=_refuses_rms_norm),
        Implementation(name="torch", run=_torch_rms_norm, refuses=_never),
        *_PACKAGES.values(),
    ),
}
"""By kind: all that are known, whether installed or not."""
