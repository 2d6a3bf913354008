"""Whether fused operations can gain anything where the model is to run."""

from __future__ import annotations

import torch

from normadvisor.fused.common.triton_support import why_not_triton
from normadvisor.optimization.candidate import Setting

__all__ = ["pointless"]


def pointless(setting: Setting) -> str:
    """Why torch's own operations are the faster ones here; empty if fused ones may be."""
    if setting.force:
        return ""
    if setting.device.type != "cuda":
        return f"on {setting.device.type} torch's own operations are the faster ones: the fused ones are kernels for NVIDIA GPUs"
    return why_not_triton(torch.empty(0, dtype=setting.dtype, device=setting.device))
