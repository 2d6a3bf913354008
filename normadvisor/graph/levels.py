"""On what tensors a forward pass is recorded: without data, fake ones that know a device, or real ones."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from normadvisor.graph.values import swapped, to_device, to_meta

__all__ = ["LEVELS", "Level", "is_input_error", "is_too_small", "materialised", "reads_values", "real_bytes"]

_INPUT_ERROR = re.compile(
    r"mat1 and mat2|size mismatch|to have \d+ channels|Given groups|Given normalized_shape|required positional argument"
    r"|unexpected keyword argument|must match the size|must match the existing size|shape '\[.*\]' is invalid for input"
    r"|expected input with shape|Expected \d[\dD or()-]* input|Expected input.* to be|Kernel size can't be greater"
    r"|Sizes of tensors must match|You must specify|You have to specify|Output size is too small|shape mismatch"
    r"|not enough values to unpack|too many values to unpack|positional arguments? but|smaller than kernel size"
    r"|Expected tensor for argument"
    r"|Attempting to broadcast|Dimension out of range|is not divisible by|doesn't match",
)


def is_input_error(error: BaseException) -> bool:
    """Whether an error says that the inputs do not fit, so that another kind of tensor would not help."""
    return isinstance(error, (TypeError, RuntimeError, ValueError, AssertionError)) and _INPUT_ERROR.search(str(error)) is not None


_READS_VALUES = re.compile(
    r"\bitem\(\)|Cannot copy out of meta tensor|Boolean value of Tensor|_local_scalar_dense|data-dependent"
    r"|aten::nonzero|torch\.nonzero|repeat_interleave a meta"
)


def reads_values(error: BaseException) -> bool:
    """Whether an error says that the model asked a tensor without data for its values."""
    return _READS_VALUES.search(str(error)) is not None


_LARGE = 1 << 16
"""Elements from which on a tensor is hollow when memory is short."""

_TOO_SMALL = re.compile(r"Kernel size can't be greater|Output size is too small|smaller than kernel size|Padding size should be less")


def is_too_small(error: BaseException) -> bool:
    """Whether an error says that a feature map has shrunk to less than a layer needs."""
    return _TOO_SMALL.search(str(error)) is not None


@dataclass(frozen=True, slots=True)
class Level:
    """One way to run a forward pass."""

    name: str
    context: Callable[[], AbstractContextManager[Any]]
    move: Callable[[torch.Tensor, Any], torch.Tensor]
    """Puts an input or a parameter where this level computes."""
    real: bool = False
    """Tensors hold values."""
    fake: bool = False
    """Tensors know a device beside their shape; of little use to a model that reads values, which fits into memory."""


@contextmanager
def _meta() -> Iterator[None]:
    with torch.no_grad(), torch.device("meta"):
        yield


@contextmanager
def _fake() -> Iterator[Any]:
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415 -- slow to import and rarely needed

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    # It logs every failing operation; here a failure is an answer.
    logger = logging.getLogger(FakeTensorMode.__module__)
    quiet, logger.disabled = logger.disabled, True
    try:
        with torch.no_grad(), mode, torch.device("cpu"):
            yield mode
    finally:
        logger.disabled = quiet


@contextmanager
def _real() -> Iterator[None]:
    with torch.no_grad(), torch.device("cpu"):
        yield


def _to_fake(tensor: torch.Tensor, mode: Any) -> torch.Tensor:
    if nn.parameter.is_lazy(tensor):
        return to_device(tensor, "cpu")
    with mode:
        return to_device(tensor, "cpu")


def _hollow(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on the CPU whose elements all are the same place in memory, so that it takes none."""
    value = 0.02 if tensor.dtype.is_floating_point or tensor.dtype.is_complex else 0
    made = torch.full((1,) * max(tensor.dim(), 1), value, dtype=tensor.dtype, device="cpu").expand(tensor.shape)
    return nn.Parameter(made, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


def _to_real(tensor: torch.Tensor, _: Any) -> torch.Tensor:
    """A copy with values on the CPU; what has none gets small random ones, indices get zeros."""
    if nn.parameter.is_lazy(tensor):
        return to_device(tensor, "cpu")
    if tensor.device.type != "meta":
        copy = tensor.detach().to("cpu", copy=True)
    elif tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        copy = torch.empty_like(tensor, device="cpu").normal_(0, 0.02)
    else:
        copy = torch.zeros_like(tensor, device="cpu")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(copy, requires_grad=tensor.requires_grad)
    return copy


LEVELS = (
    Level("tensors without data", _meta, lambda tensor, _: to_meta(tensor)),
    Level("fake tensors", _fake, _to_fake, fake=True),
    Level("real tensors", _real, _to_real, real=True),
)


def real_bytes(model: nn.Module) -> int:
    """Bytes that the parameters and buffers of ``model`` take on the CPU."""
    held = dict.fromkeys([*model.parameters(), *model.buffers()])
    return sum(tensor.numel() * tensor.element_size() for tensor in held if not nn.parameter.is_lazy(tensor))


@contextmanager
def materialised(model: nn.Module, level: Level, context: Any, memory: int) -> Iterator[None]:
    """The model with its tensors where ``level`` computes. Real tensors that take more than ``memory`` bytes are hollow."""
    hollow = level.real and real_bytes(model) > memory

    def change(tensor: torch.Tensor) -> torch.Tensor:
        if hollow and not nn.parameter.is_lazy(tensor) and tensor.numel() > _LARGE:
            return _hollow(tensor)
        return level.move(tensor, context)

    empty = level.real and any(parameter.device.type == "meta" for parameter in model.parameters())
    with swapped(model, change):
        if empty:
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._NormBase) and not nn.parameter.is_lazy(module.weight):  # noqa: SLF001
                    module.reset_parameters()
        yield
