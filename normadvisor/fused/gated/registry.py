"""Who can compute gated activations: the kernels of this package, torch's own operations, and Liger where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from normadvisor.fused.common.implementations import Implementation, find, present
from normadvisor.fused.common.triton_support import enabled
from normadvisor.fused.gated.functional import gated, gated_in_torch, gated_packed, packed_in_torch, supported, supported_packed

__all__ = ["IMPLEMENTATIONS", "implementation", "implementations"]


def implementations(kind: str) -> tuple[Implementation, ...]:
    """Give those that are installed.

    Args:
        kind: ``gated``, which is called with ``(gate, up, act)``, or ``gated_packed``: ``(x, act, dim, gate_last=...)``.

    """
    return present(IMPLEMENTATIONS[kind])


def implementation(kind: str, name: str) -> Implementation:
    """Give one by its name.

    Raises:
        ValueError: there is none, or it is not installed.

    """
    return find(IMPLEMENTATIONS[kind], name)


def _never(*_: Any, **__: Any) -> str:
    return ""


_LIGER = {"silu": ("swiglu", "LigerSiLUMulFunction"), "gelu_tanh": ("geglu", "LigerGELUMulFunction")}


def _liger_refuses(gate: Tensor, up: Tensor, act: str) -> str:
    if not enabled():
        return "fused kernels are switched off"
    if gate.device.type != "cuda":
        return f"on {gate.device.type} torch's own operations are the fast ones"
    if act not in _LIGER:
        return f"Liger has no kernel for {act}"
    if gate.shape != up.shape or gate.dim() == 0:
        return "gate and up have different shapes"
    if gate.dtype != up.dtype or gate.dtype not in {torch.float32, torch.float16, torch.bfloat16}:
        return "needs one dtype: float32, float16 or bfloat16"
    return ""


def _liger(gate: Tensor, up: Tensor, act: str) -> Tensor:
    if _liger_refuses(gate, up, act) or gate.numel() == 0:
        return gated_in_torch(gate, up, act)
    module, function = _LIGER[act]
    result: Tensor = getattr(import_module(f"liger_kernel.ops.{module}"), function).apply(gate, up)
    return result


IMPLEMENTATIONS: Mapping[str, tuple[Implementation, ...]] = {
    "gated": (
        Implementation(name="fused", run=gated, refuses=supported),
        Implementation(name="torch", run=gated_in_torch, refuses=_never),
        Implementation(
            name="liger",
            run=_liger,
            refuses=_liger_refuses,
            package="liger_kernel",
            caution="its backward pass writes the gradients over gate and up: nothing else may need them, and it cannot run twice",
        ),
    ),
    "gated_packed": (
        Implementation(name="fused", run=gated_packed, refuses=supported_packed),
        Implementation(name="torch", run=packed_in_torch, refuses=_never),
    ),
}
"""By kind: all that are known, whether installed or not."""
