"""Normalizations fused with what stands beside them, as operations of torch and as layers; usable without the rest of the package.

    norm = normadvisor.fused.FusedGroupNormAct(32, 320, act="silu")
    y = normadvisor.fused.group_norm_act(x, 32, weight, bias, act="silu")

On NVIDIA GPUs they run kernels written in Triton, elsewhere torch's own operations. Names are loaded on demand.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.fused.batch_norm.functional import batch_norm_act, batch_norm_supported, run_batch_norm
    from normadvisor.fused.batch_norm.modules import FusedBatchNormAct1d, FusedBatchNormAct2d, FusedBatchNormAct3d
    from normadvisor.fused.common.activations import ACTIVATIONS
    from normadvisor.fused.common.launch import all_launches, load_launches, overridden
    from normadvisor.fused.common.triton_support import disabled, enabled, why_not_triton
    from normadvisor.fused.group_norm.functional import group_norm_act, group_norm_supported
    from normadvisor.fused.group_norm.layer import FusedGroupNormAct, run_group_norm

_HOMES = {
    "FusedBatchNormAct1d": "normadvisor.fused.batch_norm.modules",
    "FusedBatchNormAct2d": "normadvisor.fused.batch_norm.modules",
    "FusedBatchNormAct3d": "normadvisor.fused.batch_norm.modules",
    "batch_norm_act": "normadvisor.fused.batch_norm.functional",
    "batch_norm_supported": "normadvisor.fused.batch_norm.functional",
    "run_batch_norm": "normadvisor.fused.batch_norm.functional",
    "ACTIVATIONS": "normadvisor.fused.common.activations",
    "all_launches": "normadvisor.fused.common.launch",
    "load_launches": "normadvisor.fused.common.launch",
    "overridden": "normadvisor.fused.common.launch",
    "disabled": "normadvisor.fused.common.triton_support",
    "enabled": "normadvisor.fused.common.triton_support",
    "why_not_triton": "normadvisor.fused.common.triton_support",
    "FusedGroupNormAct": "normadvisor.fused.group_norm.layer",
    "run_group_norm": "normadvisor.fused.group_norm.layer",
    "group_norm_act": "normadvisor.fused.group_norm.functional",
    "group_norm_supported": "normadvisor.fused.group_norm.functional",
}

__all__ = [
    "ACTIVATIONS",
    "FusedBatchNormAct1d",
    "FusedBatchNormAct2d",
    "FusedBatchNormAct3d",
    "FusedGroupNormAct",
    "all_launches",
    "batch_norm_act",
    "batch_norm_supported",
    "disabled",
    "enabled",
    "group_norm_act",
    "group_norm_supported",
    "load_launches",
    "overridden",
    "run_batch_norm",
    "run_group_norm",
    "why_not_triton",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
