"""Whether the Triton kernels can run on given tensors, and why they cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

__all__ = ["HAS_TRITON", "INTERPRETED", "disabled", "enabled", "multiprocessors", "on_device_of", "why_not_triton"]

HAS_TRITON = find_spec("triton") is not None
"""Whether Triton is installed; kernels are imported when they are first needed, so that nothing here imports it."""
INTERPRETED = HAS_TRITON and os.environ.get("TRITON_INTERPRET", "0").lower() in {"1", "true", "yes", "on", "y"}
"""Whether kernels run in Triton's interpreter, which takes tensors on the CPU: for tests, a thousand times slower than a GPU.

Fused operations ask ``x.is_cuda or INTERPRETED`` before anything else, in place: where neither is true torch's own operations run whatever
else is given, and every function that is called to find that out is time that a user of torch's own operations does not pay.
"""

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_OLDEST = (8, 0)
"""Compute capability from which on bfloat16 arithmetic and the compiled kernels are known to work."""
_INTERPRETED_MULTIPROCESSORS = 4

_KNOWN = (Tensor, nn.Parameter)
_TORCH_OWN = "torch._subclasses."
"""Where fake and functional tensors live, which tracers pass through operations."""

_switch = {"on": True}


def enabled() -> bool:
    """Whether fused kernels may run at all; see :func:`disabled`."""
    return _switch["on"]


@contextmanager
def disabled() -> Iterator[None]:
    """Let every fused operation fall back to torch's own operations inside the ``with``, in all threads of the process.

    What ``torch.compile`` compiled stays as it was compiled.
    """
    before, _switch["on"] = _switch["on"], False
    try:
        yield
    finally:
        _switch["on"] = before


def why_not_triton(*tensors: Tensor | None) -> str:
    """Why the kernels cannot run on these tensors, in words; empty if they can.

    Dynamo can trace it: what it asks of tensors are device, dtype and layout.
    """
    present = [tensor for tensor in tensors if tensor is not None]
    if not _switch["on"]:
        return "fused kernels are switched off"
    if not HAS_TRITON:
        return "Triton is not installed"
    return _why_not_device(present) or _why_not_kind(present) or _why_not_mode(present)


def _why_not_device(tensors: list[Tensor]) -> str:
    device = tensors[0].device
    if any(tensor.device != device for tensor in tensors):
        return "tensors are on different devices"
    if device.type == "cpu" and INTERPRETED:
        return ""
    if device.type != "cuda":
        return f"on {device.type} torch's own operations are the fast ones"
    if INTERPRETED:
        return "Triton interprets its kernels (TRITON_INTERPRET is set)"
    if torch.version.hip is not None:
        return "the kernels were not tried on AMD GPUs"
    capability = _capability(device.index)
    return "" if capability >= _OLDEST else f"needs compute capability 8.0, this GPU has {capability[0]}.{capability[1]}"


def _why_not_kind(tensors: list[Tensor]) -> str:
    for tensor in tensors:
        if tensor.dtype not in DTYPES:
            return f"there are no kernels for {str(tensor.dtype).removeprefix('torch.')}"
        if tensor.layout is not torch.strided:
            return f"there are no kernels for tensors of layout {tensor.layout}"
    return ""


def _why_not_mode(tensors: list[Tensor]) -> str:
    if torch.compiler.is_compiling():
        return _why_not_types(tensors)
    if torch._C._get_tracing_state() is not None:  # noqa: SLF001 (what torch.jit.is_tracing asks)
        return "torch.jit is tracing: its graphs hold torch's own operations"
    if torch.onnx.is_in_onnx_export():
        return "ONNX has no such operation"
    if torch._C._functorch.peek_interpreter_stack() is not None:  # noqa: SLF001 (torch asks the same way in torch._functorch)
        return "a torch.func transform is active"
    foreign = _why_not_types(tensors)
    if foreign:
        return foreign
    if forward_ad._current_level >= 0 and any(map(_has_tangent, tensors)):  # noqa: SLF001 (torch.func asks the same way)
        return "forward-mode differentiation is active"
    return ""


def _why_not_types(tensors: list[Tensor]) -> str:
    """Subclasses have operations of their own: those of distributed tensors know how torch's own ones are divided, and no others."""
    for tensor in tensors:
        kind = type(tensor)
        if kind not in _KNOWN and not kind.__module__.startswith(_TORCH_OWN):
            return f"{kind.__name__} is a tensor of its own kind"
    return ""


def _has_tangent(tensor: Tensor) -> bool:
    return forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


def _capability(index: int | None) -> tuple[int, int]:
    return _asked_capability(index)


# Dynamo would warn of a cached function that it follows, and put the question into the graph. This is what torch.compiler's
# assume_constant_result does, which takes a second to import Dynamo.
_capability._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001


@cache
def _asked_capability(index: int | None) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


def multiprocessors(device: torch.device) -> int:
    """Streaming multiprocessors of a GPU; a small number in the interpreter, so that splitting is exercised on small tensors."""
    return _multiprocessors(device.index) if device.type == "cuda" else _INTERPRETED_MULTIPROCESSORS


@cache
def _multiprocessors(index: int | None) -> int:
    return int(torch.cuda.get_device_properties(index if index is not None else torch.cuda.current_device()).multi_processor_count)


def on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Make the GPU of ``tensor`` the current one, on which Triton launches."""
    return torch.cuda.device(tensor.device) if tensor.device.type == "cuda" else nullcontext()
