"""The operations that are timed: as torch's own calls, and fused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.fused.gpu.shapes import Case
from normadvisor import fused

__all__ = ["OPERATIONS", "Inputs", "Operation", "draw"]

GROUPS = 32
"""Of GroupNorm, as in diffusion models."""
_EPS, _MOMENTUM = 1e-5, 0.1

Tensors = tuple[torch.Tensor, ...]


@dataclass(slots=True)
class Inputs:
    """What an operation is called with."""

    data: Tensors
    """Of the full shape; all take gradients."""
    parameters: Tensors = ()
    """Scale and shift, which take gradients as well."""
    buffers: Tensors = ()

    @property
    def differentiated(self) -> Tensors:
        """Everything that takes a gradient."""
        return (*self.data, *self.parameters)

    def to(self, dtype: torch.dtype) -> Inputs:
        """Copies in another dtype."""
        data, parameters = (tuple(tensor.detach().to(dtype).requires_grad_() for tensor in held) for held in (self.data, self.parameters))
        return Inputs(data, parameters, tuple(tensor.clone().to(dtype) for tensor in self.buffers))


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation in several ways, which all take :class:`Inputs` and give one tensor or several."""

    eager: Callable[[Inputs], Any]
    fused: Callable[[Inputs], Any]
    forward: int
    """How often the least forward pass reads or writes a tensor of the full shape, with two passes over what is normalized."""
    both: int
    """The same for forward and backward."""
    data: int = 1
    """Tensors of the full shape that go in."""
    kind: str = "channels"
    """Which sizes the parameters have: ``channels``, ``rows`` (with a bias), ``scale`` (without), or none: ``free``."""
    registry: str = ""
    """Key under which other packages have it, in the registries of ``normadvisor.fused``."""
    act: str = ""
    """Of a gate, for the same."""
    before: Callable[[Inputs], torch.Tensor] | None = None
    """What is activated, where the derivative of the activation jumps at zero."""


def draw(case: Case, operation: Operation, device: torch.device) -> Inputs:
    """Normally distributed inputs of a case, the same ones each time."""
    generator = torch.Generator(device=device).manual_seed(0)
    dtype = getattr(torch, case.dtype)

    def normal(shape: tuple[int, ...], scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
        return torch.randn(shape, device=device, generator=generator) * scale + shift

    data = [normal(case.shape) for _ in range(operation.data)]
    if case.channels_last:
        data = [tensor.contiguous(memory_format=torch.channels_last) for tensor in data]
    width = case.shape[1] if operation.kind == "channels" else case.shape[-1]
    count = {"channels": 2, "rows": 2, "scale": 1, "free": 0}[operation.kind]
    parameters = [normal((width,), 0.1, shift) for shift in (1.0, 0.0)[:count]]
    # BatchNorm keeps its parameters and statistics in float32, whatever comes in.
    held = torch.float32 if case.operation.startswith("batch_norm") else dtype
    buffers = (torch.zeros(width, device=device), torch.ones(width, device=device)) if case.operation.startswith("batch_norm") else ()
    leaves = [tuple(tensor.to(kind).requires_grad_() for tensor in tensors) for tensors, kind in ((data, dtype), (parameters, held))]
    return Inputs(leaves[0], leaves[1], buffers)


def _group_norm(inputs: Inputs) -> torch.Tensor:
    return F.silu(F.group_norm(*inputs.data, GROUPS, *inputs.parameters, _EPS))


def _fused_group_norm(inputs: Inputs) -> torch.Tensor:
    return fused.group_norm_act(*inputs.data, GROUPS, *inputs.parameters, _EPS, act="silu")


def _before_relu(inputs: Inputs) -> torch.Tensor:
    x, *residual = inputs.data
    y = F.batch_norm(x, *inputs.buffers, *inputs.parameters, training=True, momentum=_MOMENTUM, eps=_EPS)
    for added in residual:
        y += added
    return y


def _batch_norm(inputs: Inputs) -> torch.Tensor:
    return F.relu(_before_relu(inputs), inplace=True)


def _fused_batch_norm(inputs: Inputs) -> torch.Tensor:
    x, *residual = inputs.data
    added = residual[0] if residual else None
    return fused.batch_norm_act(
        x, *inputs.buffers, *inputs.parameters, training=True, momentum=_MOMENTUM, eps=_EPS, residual=added, act="relu"
    )


def _add_layer_norm(inputs: Inputs) -> Tensors:
    total = inputs.data[0] + inputs.data[1]
    return F.layer_norm(total, total.shape[-1:], *inputs.parameters, _EPS), total


def _fused_add_layer_norm(inputs: Inputs) -> Tensors:
    return fused.add_layer_norm(*inputs.data, inputs.data[0].shape[-1:], *inputs.parameters, _EPS)


def _add_rms_norm(inputs: Inputs) -> Tensors:
    total = inputs.data[0] + inputs.data[1]
    return F.rms_norm(total, total.shape[-1:], *inputs.parameters, _EPS), total


def _fused_add_rms_norm(inputs: Inputs) -> Tensors:
    return fused.add_rms_norm(*inputs.data, inputs.data[0].shape[-1:], *inputs.parameters, _EPS)


def _swiglu(inputs: Inputs) -> torch.Tensor:
    return F.silu(inputs.data[0]) * inputs.data[1]


def _geglu(inputs: Inputs) -> torch.Tensor:
    return F.gelu(inputs.data[0]) * inputs.data[1]


def _geglu_tanh(inputs: Inputs) -> torch.Tensor:
    return F.gelu(inputs.data[0], approximate="tanh") * inputs.data[1]


def _fused_swiglu(inputs: Inputs) -> torch.Tensor:
    return fused.swiglu(*inputs.data)


def _fused_geglu(inputs: Inputs) -> torch.Tensor:
    return fused.geglu(*inputs.data)


def _fused_geglu_tanh(inputs: Inputs) -> torch.Tensor:
    return fused.geglu(*inputs.data, approximate="tanh")


_CHANNELS: dict[str, Any] = {"kind": "channels"}
_RELU: dict[str, Any] = {"kind": "channels", "before": _before_relu}
_ROWS: dict[str, Any] = {"data": 2, "forward": 4, "both": 8}
_FREE: dict[str, Any] = {"data": 2, "forward": 3, "both": 8, "kind": "free", "registry": "gated"}
OPERATIONS: Mapping[str, Operation] = {
    "group_norm + silu": Operation(_group_norm, _fused_group_norm, forward=3, both=8, **_CHANNELS),
    "batch_norm + relu": Operation(_batch_norm, _fused_batch_norm, forward=3, both=8, **_RELU),
    "batch_norm + add + relu": Operation(_batch_norm, _fused_batch_norm, forward=4, both=11, data=2, **_RELU),
    "add + layer_norm": Operation(_add_layer_norm, _fused_add_layer_norm, kind="rows", registry="add_layer_norm", **_ROWS),
    "add + rms_norm": Operation(_add_rms_norm, _fused_add_rms_norm, kind="scale", registry="add_rms_norm", **_ROWS),
    "swiglu": Operation(_swiglu, _fused_swiglu, act="silu", **_FREE),
    "geglu": Operation(_geglu, _fused_geglu, act="gelu", **_FREE),
    "geglu_tanh": Operation(_geglu_tanh, _fused_geglu_tanh, act="gelu_tanh", **_FREE),
}
"""By name. The numbers of passes: two reads and a write for a norm forward, two reads of input and gradient and a write backward; one read
of everything and one write of everything where rows, or nothing, are normalized."""
