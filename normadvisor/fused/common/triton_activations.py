"""Activations inside kernels: value and derivative at a float32 or float64 tensor, by name.

Import it only where Triton is known to be there. Everything is written with ``exp`` and ``erf``, which the interpreter and all GPUs have.
NaN passes through every activation, as it does through torch's.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["activate", "activation_derivative"]


@triton.jit
def _sigmoid(z):
    return 1.0 / (1.0 + tl.exp(-z))


@triton.jit
def _sigmoid_and_rest(z):
    # sigmoid(z) and 1 - sigmoid(z), which would cancel for large z; from one exponential that cannot overflow.
    e = tl.exp(-tl.abs(z))
    r = 1.0 / (1.0 + e)
    return tl.where(z < 0.0, e * r, r), tl.where(z < 0.0, r, e * r)


@triton.jit
def _gelu_tanh_argument(z):
    # tanh(u) = 2 sigmoid(2u) - 1, so gelu_tanh(z) = z sigmoid(2u) with 2u = 2 sqrt(2/pi) (z + 0.044715 z^3).
    return 1.5957691216057308 * z * (1.0 + 0.044715 * z * z)


@triton.jit
def _tanh_softplus(z):
    # tanh(log(1 + e)) = e(e + 2) / (e(e + 2) + 2) with e = exp(z); beyond 20 it is 1 to the last bit, and exp would overflow.
    e = tl.exp(tl.where(z > 20.0, 20.0, z))
    n = e * (e + 2.0)
    return n / (n + 2.0)


@triton.jit
def activate(z, slope, ACT: tl.constexpr):
    """Activation ``ACT`` at ``z``; ``slope`` is the negative slope of leaky_relu."""
    if ACT == "relu":
        z = tl.where(z <= 0.0, 0.0, z)
    elif ACT == "relu6":
        z = tl.where(z <= 0.0, 0.0, tl.where(z >= 6.0, 6.0, z))
    elif ACT == "leaky_relu":
        z = tl.where(z > 0.0, z, z * slope)
    elif ACT == "silu":
        z = z * _sigmoid(z)
    elif ACT == "gelu":
        z = 0.5 * z * (1.0 + tl.erf(z * 0.7071067811865476))
    elif ACT == "gelu_tanh":
        z = z * _sigmoid(_gelu_tanh_argument(z))
    elif ACT == "hardswish":
        z = z * tl.where(z <= -3.0, 0.0, tl.where(z >= 3.0, 1.0, z * (1.0 / 6.0) + 0.5))
    elif ACT == "mish":
        z = z * _tanh_softplus(z)
    else:
        tl.static_assert(ACT == "none", "unknown activation")
    return z


@triton.jit
def activation_derivative(z, slope, ACT: tl.constexpr):
    """Derivative of the activation ``ACT`` at ``z``; at a kink what torch takes there."""
    if ACT == "relu":
        d = tl.where(z <= 0.0, 0.0, 1.0)
    elif ACT == "relu6":
        d = tl.where(z <= 0.0, 0.0, tl.where(z >= 6.0, 0.0, 1.0))
    elif ACT == "leaky_relu":
        d = tl.where(z > 0.0, tl.full(z.shape, 1.0, z.dtype), slope)
    elif ACT == "silu":
        s, rest = _sigmoid_and_rest(z)
        d = s * (1.0 + z * rest)
    elif ACT == "gelu":
        # 0.3989... = 1 / sqrt(2 pi)
        d = 0.5 * (1.0 + tl.erf(z * 0.7071067811865476)) + z * 0.3989422804014327 * tl.exp(-0.5 * z * z)
    elif ACT == "gelu_tanh":
        s, rest = _sigmoid_and_rest(_gelu_tanh_argument(z))
        d = s * (1.0 + z * rest * 1.5957691216057308 * (1.0 + 0.134145 * z * z))
    elif ACT == "hardswish":
        d = tl.where(z <= -3.0, 0.0, tl.where(z >= 3.0, 1.0, z * (1.0 / 3.0) + 0.5))
    elif ACT == "mish":
        t = _tanh_softplus(z)
        d = t + z * _sigmoid(z) * (1.0 - t * t)
    else:
        tl.static_assert(ACT == "none", "unknown activation")
        d = tl.full(z.shape, 1.0, z.dtype)
    return d
