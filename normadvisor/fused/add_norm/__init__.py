"""Add + LayerNorm and add + RMSNorm: the residual connection and the norm behind it in one pass, forward and backward."""

from normadvisor.fused.add_norm.functional import add_layer_norm, add_rms_norm
from normadvisor.fused.add_norm.modules import FusedAddLayerNorm, FusedAddRMSNorm, run_add_norm
from normadvisor.fused.add_norm.registry import IMPLEMENTATIONS, implementation, implementations

__all__ = [
    "IMPLEMENTATIONS",
    "FusedAddLayerNorm",
    "FusedAddRMSNorm",
    "add_layer_norm",
    "add_rms_norm",
    "implementation",
    "implementations",
    "run_add_norm",
]
