"""Gated activations as operations of torch: of two tensors, and of one that holds both halves.

They run on a GPU through Triton; :mod:`normadvisor.fused.gated.functional` calls them where they can, torch's own operations elsewhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from normadvisor.fused.common.double_backward import differentiate_again
from normadvisor.fused.common.eager import plain
from normadvisor.fused.gated.layout import Matrix, Split, matrix_of, split_of
from normadvisor.fused.gated.reference import gated_in_torch, packed_in_torch

__all__ = ["gated", "gated_backward", "gated_packed", "gated_packed_backward", "run", "run_packed"]


def _forward(gate: Tensor, up: Tensor, act: str) -> Tensor:
    """Compute ``act(gate) * up``.

    Args:
        gate: of any shape.
        up: of the same shape.
        act: one of :data:`~normadvisor.fused.common.activations.ACTIVATIONS`.

    Returns:
        In the promoted dtype of both; in their strides if these are the same without gaps, else contiguous.

    """
    gate, up, matrix = _readable(gate, up)
    out = matrix.empty(gate, torch.promote_types(gate.dtype, up.dtype))
    if out.numel():
        from normadvisor.fused.gated.run import run_forward  # noqa: PLC0415 (needs Triton)

        run_forward(gate, up, out, matrix, act)
    return out


gated = torch.library.custom_op("normadvisor::gated", _forward, mutates_args=())


def _readable(gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor, Matrix]:
    matrix = matrix_of(gate, up)
    if matrix is None:
        gate, up = gate.contiguous(), up.contiguous()
        matrix = matrix_of(gate, up)
    assert matrix is not None, "contiguous tensors are matrices"  # noqa: S101
    return gate, up, matrix


@gated.register_fake
def _(gate: Tensor, up: Tensor, act: str) -> Tensor:  # noqa: ARG001
    gate, up, matrix = _readable(gate, up)
    return matrix.empty(gate, torch.promote_types(gate.dtype, up.dtype))


def _backward(d_out: Tensor, gate: Tensor, up: Tensor, act: str) -> tuple[Tensor, Tensor]:
    """Compute the gradients of :func:`_forward` with respect to ``gate`` and ``up``, without gaps.

    Args:
        d_out: gradient of the result.
        gate: as in :func:`_forward`.
        up: as there.
        act: as there.

    """
    gate, up, matrix = _readable(gate, up)
    d_gate, d_up = matrix.empty(gate, gate.dtype), matrix.empty(gate, up.dtype)
    if d_out.numel():
        from normadvisor.fused.gated.run import run_backward  # noqa: PLC0415 (needs Triton)

        distances = matrix.columns, matrix.columns
        run_backward((matrix.like_result(d_out, gate), gate, up), (d_gate, d_up), matrix, distances, act)
    return d_gate, d_up


gated_backward = torch.library.custom_op("normadvisor::gated_backward", _backward, mutates_args=())


@gated_backward.register_fake
def _(d_out: Tensor, gate: Tensor, up: Tensor, act: str) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    gate, up, matrix = _readable(gate, up)
    return matrix.empty(gate, gate.dtype), matrix.empty(gate, up.dtype)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, str], output: Tensor) -> None:  # noqa: ARG001
    gate, up, ctx.act = inputs
    ctx.save_for_backward(gate, up)


def _differentiate(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, None]:
    # Where backward is to be differentiated in turn it has to be an operation.
    gate, up = ctx.saved_tensors
    backward = _backward if plain(d_out, gate, up) and not torch.is_grad_enabled() else gated_backward
    d_gate, d_up = backward(d_out, gate, up, ctx.act)
    return d_gate, d_up, None


gated.register_autograd(_differentiate, setup_context=_save)


def _save_again(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, str], output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001
    *tensors, ctx.act = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors)


def _differentiate_again(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    d_out, gate, up = ctx.saved_tensors

    def forward(gate: Tensor, up: Tensor) -> tuple[Tensor]:
        return (gated_in_torch(gate, up, ctx.act),)

    (d_gate, d_up), (d_d_out,) = differentiate_again(forward, (gate, up), (d_out,), gradients)
    return d_d_out, d_gate, d_up, None


gated_backward.register_autograd(_differentiate_again, setup_context=_save_again)


class _Gated(torch.autograd.Function):
    """The same for calls that nothing but autograd has to see."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, act: str) -> Tensor:
        output = _forward(gate, up, act)
        _save(ctx, (gate, up, act), output)
        return output

    backward = staticmethod(_differentiate)


def run(gate: Tensor, up: Tensor, act: str) -> Tensor:
    """Call :data:`gated`, past the dispatcher where that makes no difference."""
    if not plain(gate, up):
        result: Tensor = gated(gate, up, act)
    elif torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad):
        result = _Gated.apply(gate, up, act)
    else:
        result = _forward(gate, up, act)
    return result


def _forward_packed(x: Tensor, act: str, dim: int, gate_last: bool) -> Tensor:
    """Compute ``act(gate) * up`` of the halves of ``x``.

    Args:
        x: an even number of elements along ``dim``.
        act: one of :data:`~normadvisor.fused.common.activations.ACTIVATIONS`.
        dim: dimension that holds both halves, not negative.
        gate_last: whether the second half is the gate.

    Returns:
        Half as long as ``x`` along ``dim``, in its order of dimensions in memory.

    """
    x, split = _splittable(x, dim)
    out = split.empty(x, dim)
    if out.numel():
        from normadvisor.fused.gated.run import run_forward  # noqa: PLC0415 (needs Triton)

        run_forward(*split.halves(x, dim, gate_last=gate_last), out, split.matrix, act)
    return out


gated_packed = torch.library.custom_op("normadvisor::gated_packed", _forward_packed, mutates_args=())


def _splittable(x: Tensor, dim: int) -> tuple[Tensor, Split]:
    split = split_of(x, dim)
    if split is None:
        x = x.contiguous()
        split = split_of(x, dim)
    assert split is not None, "a contiguous tensor has no gaps"  # noqa: S101
    return x, split


@gated_packed.register_fake
def _(x: Tensor, act: str, dim: int, gate_last: bool) -> Tensor:  # noqa: ARG001
    x, split = _splittable(x, dim)
    return split.empty(x, dim)


def _backward_packed(d_out: Tensor, x: Tensor, act: str, dim: int, gate_last: bool) -> Tensor:
    """Compute the gradient of :func:`_forward_packed` with respect to ``x``: both halves in one tensor.

    Args:
        d_out: gradient of the result.
        x: as in :func:`_forward_packed`.
        act: as there.
        dim: as there.
        gate_last: as there.

    """
    x, split = _splittable(x, dim)
    d_x = split.matrix.empty(x, x.dtype)
    if d_out.numel():
        from normadvisor.fused.gated.run import run_backward  # noqa: PLC0415 (needs Triton)

        gate, up = split.halves(x, dim, gate_last=gate_last)
        gradients = split.halves(d_x, dim, gate_last=gate_last)
        distances = 2 * split.columns, 2 * split.columns
        run_backward((split.like_result(d_out, x, dim), gate, up), gradients, split.matrix, distances, act)
    return d_x


gated_packed_backward = torch.library.custom_op("normadvisor::gated_packed_backward", _backward_packed, mutates_args=())


@gated_packed_backward.register_fake
def _(d_out: Tensor, x: Tensor, act: str, dim: int, gate_last: bool) -> Tensor:  # noqa: ARG001
    x, split = _splittable(x, dim)
    return split.matrix.empty(x, x.dtype)


def _save_packed(ctx: Any, inputs: tuple[Tensor, str, int, bool], output: Tensor) -> None:  # noqa: ARG001
    x, *ctx.settings = inputs
    ctx.save_for_backward(x)


def _differentiate_packed(ctx: Any, d_out: Tensor) -> tuple[Tensor, None, None, None]:
    backward = _backward_packed if plain(d_out, *ctx.saved_tensors) and not torch.is_grad_enabled() else gated_packed_backward
    return backward(d_out, *ctx.saved_tensors, *ctx.settings), None, None, None


gated_packed.register_autograd(_differentiate_packed, setup_context=_save_packed)


def _save_packed_again(ctx: Any, inputs: tuple[Tensor, Tensor, str, int, bool], output: Tensor) -> None:  # noqa: ARG001
    d_out, x, *ctx.settings = inputs
    ctx.save_for_backward(d_out, x)


def _differentiate_packed_again(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    d_out, x = ctx.saved_tensors
    act, dim, gate_last = ctx.settings

    def forward(x: Tensor) -> tuple[Tensor]:
        return (packed_in_torch(x, act, dim, gate_last=gate_last),)

    (d_x,), (d_d_out,) = differentiate_again(forward, (x,), (d_out,), (gradient,))
    return d_d_out, d_x, None, None, None


gated_packed_backward.register_autograd(_differentiate_packed_again, setup_context=_save_packed_again)


class _GatedPacked(torch.autograd.Function):
    """The same for calls that nothing but autograd has to see."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, act: str, dim: int, gate_last: bool) -> Tensor:
        output = _forward_packed(x, act, dim, gate_last)
        _save_packed(ctx, (x, act, dim, gate_last), output)
        return output

    backward = staticmethod(_differentiate_packed)


def run_packed(x: Tensor, act: str, dim: int, *, gate_last: bool) -> Tensor:
    """Call :data:`gated_packed`, past the dispatcher where that makes no difference."""
    if not plain(x):
        result: Tensor = gated_packed(x, act, dim, gate_last)
    elif torch.is_grad_enabled() and x.requires_grad:
        result = _GatedPacked.apply(x, act, dim, gate_last)
    else:
        result = _forward_packed(x, act, dim, gate_last)
    return result
