"""Convolution + addition + activation: one operation of oneDNN where it can run, torch's own operations elsewhere.

On a CPU torch runs convolutions by oneDNN, which can apply an activation to each value while it is still in a register. Eager torch has no
public way to ask for it, ``torch.compile`` with freezing does, by the operations that are called here. They know no gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from normadvisor.fused.common.activations import DEFAULT_SLOPE, check_activation
from normadvisor.fused.common.eager import plain
from normadvisor.fused.common.in_torch import add_and_activate
from normadvisor.fused.common.triton_support import enabled

__all__ = ["CONV_ACTIVATIONS", "SUMMED_ACTIVATIONS", "conv_act", "conv_act_supported", "is_convolution", "run_conv"]

_POST_OPS: Mapping[str, tuple[str, tuple[float, ...], str]] = {
    "none": ("none", (), ""),
    "relu": ("relu", (), ""),
    "relu6": ("hardtanh", (0.0, 6.0), ""),
    "silu": ("swish", (), ""),
    "gelu": ("gelu", (), "none"),
    "gelu_tanh": ("gelu", (), "tanh"),
    "hardswish": ("hardswish", (), ""),
}
"""Name, numbers and algorithm by which oneDNN is asked for an activation; ``leaky_relu`` has its slope as its number."""
CONV_ACTIVATIONS = (*_POST_OPS, "leaky_relu")
"""Names of the activations that a convolution can take in."""
SUMMED_ACTIVATIONS = ("none", "relu")
"""Those that it can take in together with a sum."""
_RANKS: Mapping[int, Any] = {4: F.conv2d, 5: F.conv3d}
"""By the axes of the weight."""


def conv_act_supported(input: Tensor, weight: Tensor, bias: Tensor | None = None, residual: Tensor | None = None) -> str:  # noqa: A002 (as torch)
    """Say why :func:`conv_act` uses torch's own operations for these tensors; empty if it is one operation."""
    given = [tensor for tensor in (input, weight, bias, residual) if tensor is not None]
    return _why_not_tensors(given) or _why_not_mode(given) or _why_not_shapes(input, weight)


def _why_not_tensors(given: Sequence[Tensor]) -> str:
    for tensor in given:
        if tensor.device.type != "cpu":
            return "oneDNN computes on a CPU"
        if tensor.dtype is not torch.float32:
            return f"{str(tensor.dtype).removeprefix('torch.')} is left to torch's own operations"
        if tensor.layout is not torch.strided:
            return f"tensors of layout {tensor.layout} are left to torch's own operations"
    return ""


def _why_not_mode(given: Sequence[Tensor]) -> str:
    if not enabled():
        return "fused kernels are switched off"
    if not plain(*given):
        return "a compiler or a tensor of its own kind follows the operations"
    if not (torch._C._has_mkldnn and torch._C._get_mkldnn_enabled()):  # noqa: SLF001 (torch.backends.mkldnn asks the same way)
        return "this build of torch has no oneDNN, or it is switched off"
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        return "gradients are recorded: the operation has none"
    if torch.is_autocast_enabled("cpu"):
        return "autocast chooses the dtype of each operation"
    if torch._C._get_tracing_state() is not None or torch.onnx.is_in_onnx_export():  # noqa: SLF001 (what torch.jit.is_tracing asks)
        return "the model is being traced: graphs hold torch's own operations"
    if torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0:  # noqa: SLF001 (torch asks the same way)
        return "a torch.func transform is active"
    return ""


def _why_not_shapes(x: Tensor, weight: Tensor) -> str:
    if weight.dim() not in _RANKS or x.dim() != weight.dim():
        return "only batches of maps and volumes are convolved in one operation"
    return "" if x.numel() else "the input is empty"


def conv_act(
    input: Tensor,  # noqa: A002 (as torch)
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    act: str = "none",
    negative_slope: float = DEFAULT_SLOPE,
    residual: Tensor | None = None,
) -> Tensor:
    """``act(conv(input) + residual)``, for maps and volumes.

    One operation for float32 on a CPU where no gradients are recorded; :func:`conv_act_supported` tells why it is not. A value that is not
    a number comes out of ``relu`` and ``relu6`` as 0 then, as it does in a model that ``torch.compile`` has frozen.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W); (C, ...) without a batch is convolved by torch's own operations.
        weight: (O, C / groups, *kernel).
        bias: (O) or none.
        stride: for all axes of the kernel, or each.
        padding: zeros on both sides.
        dilation: distance of the kernel's elements.
        groups: divides C and O.
        act: one of :data:`normadvisor.fused.CONV_ACTIVATIONS`.
        negative_slope: of ``leaky_relu``.
        residual: of the shape of the output, or one that torch broadcasts to it; ``None`` adds nothing.

    Raises:
        ValueError: there is no such activation.
        RuntimeError: shapes do not fit together.

    """
    check_activation(act)
    axes = weight.dim() - 2
    sizes = tuple(_each(value, axes) for value in (stride, padding, dilation))
    if act not in CONV_ACTIVATIONS or conv_act_supported(input, weight, bias, residual):
        convolve = _RANKS.get(weight.dim(), F.conv1d)
        return add_and_activate(convolve(input, weight, bias, *sizes, groups), residual, act, negative_slope)
    return _in_one(input, weight, bias, sizes, groups, residual, act, negative_slope)


def run_conv(conv: Any, x: Tensor, residual: Tensor | None = None, act: str = "none", negative_slope: float = DEFAULT_SLOPE) -> Tensor:
    """Run a convolution layer, an addition and an activation as one operation, see :func:`conv_act`.

    Args:
        conv: a ``torch.nn.Conv2d`` or ``Conv3d`` that pads with zeros; its parameters and settings are taken.
        x: what it gets.
        residual: what is added to what it gives.
        act: one of :data:`normadvisor.fused.CONV_ACTIVATIONS`.
        negative_slope: of ``leaky_relu``.

    """
    weight, bias = conv.weight, conv.bias
    if isinstance(conv.padding, str) or conv.padding_mode != "zeros" or conv_act_supported(x, weight, bias, residual):
        return add_and_activate(conv(x), residual, act, negative_slope)
    return _in_one(x, weight, bias, (conv.stride, conv.padding, conv.dilation), conv.groups, residual, act, negative_slope)


def _each(value: int | Sequence[int], axes: int) -> Sequence[int]:
    return (value,) * axes if isinstance(value, int) else value


def _in_one(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: Sequence[Sequence[int]],
    groups: int,
    residual: Tensor | None,
    act: str,
    slope: float,
) -> Tensor:
    name, numbers, algorithm = ("leaky_relu", (slope,), "") if act == "leaky_relu" else _POST_OPS[act]
    stride, padding, dilation = sizes
    run = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001 (it has no other name)
    if residual is None:
        y: Tensor = run.default(x, weight, bias, padding, stride, dilation, groups, name, numbers, algorithm)
        return y
    # It does not look at the sizes itself, and reads what lies behind; and it activates a sum with these alone.
    if act not in SUMMED_ACTIVATIONS or residual.shape != _output_shape(x, weight, sizes):
        return add_and_activate(run.default(x, weight, bias, padding, stride, dilation, groups, "none", (), ""), residual, act, slope)
    unary = None if act == "none" else name
    z: Tensor = run.binary(x, residual, weight, bias, padding, stride, dilation, groups, "add", 1.0, unary, numbers, algorithm)
    return z


def _output_shape(x: Tensor, weight: Tensor, sizes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """As torch.nn.Conv2d gives it: https://pytorch.org/docs/stable/generated/torch.nn.Conv2d.html."""
    spatial = zip(x.shape[2:], weight.shape[2:], *sizes, strict=True)
    lengths = [(length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for length, kernel, stride, padding, dilation in spatial]
    return (x.shape[0], weight.shape[0], *lengths)


def is_convolution(layer: nn.Module) -> bool:
    """Whether a layer is a convolution that :func:`run_conv` knows to the last detail."""
    base = next((cls for cls in (nn.Conv2d, nn.Conv3d) if isinstance(layer, cls)), None)
    if base is None or type(layer).forward is not base.forward or "forward" in vars(layer):
        return False
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
