"""Normalizations fused with what stands beside them, as operations of torch and as layers; usable without the rest of the package.

    norm = normadvisor.fused.FusedGroupNormAct(32, 320, act="silu")
    y = normadvisor.fused.group_norm_act(x, 32, weight, bias, act="silu")

On NVIDIA GPUs they run kernels written in Triton, elsewhere torch's own operations; on a CPU convolutions take in activations. Names are
loaded on demand.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.fused.add_norm import FusedAddLayerNorm, FusedAddRMSNorm, add_layer_norm, add_rms_norm, run_add_norm
    from normadvisor.fused.batch_norm.functional import batch_norm_act, batch_norm_supported, run_batch_norm
    from normadvisor.fused.batch_norm.modules import FusedBatchNormAct1d, FusedBatchNormAct2d, FusedBatchNormAct3d
    from normadvisor.fused.common.activations import ACTIVATIONS
    from normadvisor.fused.common.launch import all_launches, load_launches, overridden
    from normadvisor.fused.common.triton_support import disabled, enabled, why_not_triton
    from normadvisor.fused.convolution.functional import CONV_ACTIVATIONS, conv_act, conv_act_supported, run_conv
    from normadvisor.fused.gated import (
        FusedGatedActivation,
        FusedGEGLU,
        FusedSwiGLU,
        gated_packed,
        geglu,
        geglu_packed,
        swiglu,
        swiglu_packed,
    )
    from normadvisor.fused.group_norm.functional import group_norm_act, group_norm_supported
    from normadvisor.fused.group_norm.layer import FusedGroupNormAct, run_group_norm

_HOMES = {
    "FusedAddLayerNorm": "normadvisor.fused.add_norm",
    "FusedAddRMSNorm": "normadvisor.fused.add_norm",
    "add_layer_norm": "normadvisor.fused.add_norm",
    "add_rms_norm": "normadvisor.fused.add_norm",
    "run_add_norm": "normadvisor.fused.add_norm",
    "batch_norm_act": "normadvisor.fused.batch_norm.functional",
    "batch_norm_supported": "normadvisor.fused.batch_norm.functional",
    "run_batch_norm": "normadvisor.fused.batch_norm.functional",
    "FusedBatchNormAct1d": "normadvisor.fused.batch_norm.modules",
    "FusedBatchNormAct2d": "normadvisor.fused.batch_norm.modules",
    "FusedBatchNormAct3d": "normadvisor.fused.batch_norm.modules",
    "ACTIVATIONS": "normadvisor.fused.common.activations",
    "CONV_ACTIVATIONS": "normadvisor.fused.convolution.functional",
    "conv_act": "normadvisor.fused.convolution.functional",
    "conv_act_supported": "normadvisor.fused.convolution.functional",
    "run_conv": "normadvisor.fused.convolution.functional",
    "all_launches": "normadvisor.fused.common.launch",
    "load_launches": "normadvisor.fused.common.launch",
    "overridden": "normadvisor.fused.common.launch",
    "disabled": "normadvisor.fused.common.triton_support",
    "enabled": "normadvisor.fused.common.triton_support",
    "why_not_triton": "normadvisor.fused.common.triton_support",
    "FusedGEGLU": "normadvisor.fused.gated",
    "FusedGatedActivation": "normadvisor.fused.gated",
    "FusedSwiGLU": "normadvisor.fused.gated",
    "gated_packed": "normadvisor.fused.gated",
    "geglu": "normadvisor.fused.gated",
    "geglu_packed": "normadvisor.fused.gated",
    "swiglu": "normadvisor.fused.gated",
    "swiglu_packed": "normadvisor.fused.gated",
    "group_norm_act": "normadvisor.fused.group_norm.functional",
    "group_norm_supported": "normadvisor.fused.group_norm.functional",
    "FusedGroupNormAct": "normadvisor.fused.group_norm.layer",
    "run_group_norm": "normadvisor.fused.group_norm.layer",
}

__all__ = [
    "ACTIVATIONS",
    "CONV_ACTIVATIONS",
    "FusedAddLayerNorm",
    "FusedAddRMSNorm",
    "FusedBatchNormAct1d",
    "FusedBatchNormAct2d",
    "FusedBatchNormAct3d",
    "FusedGEGLU",
    "FusedGatedActivation",
    "FusedGroupNormAct",
    "FusedSwiGLU",
    "add_layer_norm",
    "add_rms_norm",
    "all_launches",
    "batch_norm_act",
    "batch_norm_supported",
    "conv_act",
    "conv_act_supported",
    "disabled",
    "enabled",
    "gated_packed",
    "geglu",
    "geglu_packed",
    "group_norm_act",
    "group_norm_supported",
    "load_launches",
    "overridden",
    "run_add_norm",
    "run_batch_norm",
    "run_conv",
    "run_group_norm",
    "swiglu",
    "swiglu_packed",
    "why_not_triton",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Kept, so that this is not asked again: `fused.swiglu(gate, up)` should cost what the function costs.
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
