"""Gated activations, SwiGLU and GEGLU: activation and product in one pass, forward and backward."""

from normadvisor.fused.gated.functional import gated, gated_packed, geglu, geglu_packed, swiglu, swiglu_packed
from normadvisor.fused.gated.modules import FusedGatedActivation, FusedGEGLU, FusedSwiGLU
from normadvisor.fused.gated.registry import IMPLEMENTATIONS, implementation, implementations

__all__ = [
    "IMPLEMENTATIONS",
    "FusedGEGLU",
    "FusedGatedActivation",
    "FusedSwiGLU",
    "gated",
    "gated_packed",
    "geglu",
    "geglu_packed",
    "implementation",
    "implementations",
    "swiglu",
    "swiglu_packed",
]
