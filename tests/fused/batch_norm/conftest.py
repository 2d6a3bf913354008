"""One batch through the fused operation, through torch's own operations, and through those in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

from normadvisor.fused.batch_norm.functional import batch_norm_act, batch_norm_supported
from normadvisor.fused.common.activations import activation
from normadvisor.fused.common.reference import relative_error
from normadvisor.fused.common.triton_support import INTERPRETED

Tensors = Mapping[str, torch.Tensor | None]

ULPS = {torch.float64: 200, torch.float32: 16, torch.float16: 1, torch.bfloat16: 2 if INTERPRETED else 1}
"""What the error of kernels may be at least, in units of the last place of the largest entry. On a CPU torch sums float32 in float64 and rounds
once, kernels do as torch's own do on a GPU; and in float64 what is called exact is rounded as well. The interpreter cuts bfloat16 off
instead of rounding it."""


@dataclass
class Batch:
    """What goes in. Parameters and statistics have ``dtype`` or, as in mixed precision, float32."""

    x: torch.Tensor
    residual: torch.Tensor | None
    weight: torch.Tensor | None
    bias: torch.Tensor | None
    running_mean: torch.Tensor | None
    running_var: torch.Tensor | None
    dy: torch.Tensor
    act: str
    training: bool
    eps: float = 1e-5
    slope: float = 0.2
    momentum: float = 0.3

    def tensors(self, wide: bool) -> dict[str, torch.Tensor | None]:
        def own(tensor):
            return None if tensor is None else (tensor.detach().double() if wide else tensor.detach().clone())

        taken = {name: own(getattr(self, name)) for name in ("x", "residual", "weight", "bias")}
        taken = {name: tensor if tensor is None else tensor.requires_grad_() for name, tensor in taken.items()}
        return {**taken, "running_mean": own(self.running_mean), "running_var": own(self.running_var)}

    def results(self, forward: Callable[..., torch.Tensor], wide: bool = False, guard: Callable = lambda tensor: tensor) -> dict[str, torch.Tensor]:
        """Output, gradients, and running statistics afterwards."""
        tensors = {name: tensor if tensor is None else guard(tensor) for name, tensor in self.tensors(wide).items()}
        y = forward(self, tensors)
        wanted = {name: tensor for name, tensor in tensors.items() if tensor is not None and tensor.requires_grad}
        gradients = torch.autograd.grad(y, list(wanted.values()), guard(self.dy.to(y.dtype)))
        found = {"y": y.detach()} | {f"d{name}": gradient for name, gradient in zip(wanted, gradients, strict=True)}
        moved = {name: tensors[name] for name in ("running_mean", "running_var") if tensors[name] is not None}
        return {**found, **{name: tensor for name, tensor in moved.items() if tensor is not None}}


def by_torch(batch: Batch, t: Tensors) -> torch.Tensor:
    z = F.batch_norm(t["x"], t["running_mean"], t["running_var"], t["weight"], t["bias"], batch.training, batch.momentum, batch.eps)
    return activation(batch.act, z if t["residual"] is None else z + t["residual"], batch.slope)


def by_kernels(batch: Batch, t: Tensors) -> torch.Tensor:
    statistics = t["running_mean"], t["running_var"]
    parameters = t["weight"], t["bias"]
    assert batch_norm_supported(t["x"], *statistics, *parameters, batch.training, residual=t["residual"]) == ""
    return batch_norm_act(
        t["x"],
        *statistics,
        *parameters,
        training=batch.training,
        momentum=batch.momentum,
        eps=batch.eps,
        residual=t["residual"],
        act=batch.act,
        negative_slope=batch.slope,
    )


def cancellation(batch: Batch) -> dict[str, float]:
    """By how much larger the terms of the sums over a channel are than the largest sum: no summation can be more exact than that."""
    t = batch.tensors(wide=True)
    normalized = F.batch_norm(t["x"], t["running_mean"], t["running_var"], None, None, batch.training, 0.0, batch.eps).detach()
    shape = [1, -1, *[1] * (normalized.dim() - 2)]
    z = normalized if t["weight"] is None else normalized * t["weight"].view(shape) + t["bias"].view(shape)
    z = (z if t["residual"] is None else z + t["residual"]).detach().requires_grad_()
    (dz,) = torch.autograd.grad(activation(batch.act, z, batch.slope), z, batch.dy.double())
    others = [0, *range(2, z.dim())]
    sums = {"dbias": dz, "dweight": dz * normalized}
    return {name: float(terms.abs().sum(others).max() / terms.sum(others).abs().max().clamp_min(1e-300)) for name, terms in sums.items()}


@pytest.fixture
def draw(device: torch.device) -> Callable[..., Batch]:
    """Draws a batch: N(2, 9), parameters with a negative and a zero weight, gradients that do not cancel out."""

    def run(
        shape: tuple[int, ...],
        *,
        order: str = "first",
        dtype: torch.dtype = torch.float32,
        parameters: torch.dtype | None = None,
        act: str = "none",
        residual: bool = False,
        training: bool = True,
        affine: bool = True,
        tracked: bool = True,
        seed: int = 0,
    ) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        own = parameters or dtype

        def data(mean: float, deviation: float) -> torch.Tensor:
            values = (torch.randn(shape, generator=generator) * deviation + mean).to(device=device, dtype=dtype)
            if order == "last" and len(shape) > 2:
                return values.movedim(1, -1).contiguous().movedim(-1, 1)
            return values

        def vector(start: float) -> torch.Tensor:
            values = torch.randn(shape[1], generator=generator).abs() + start
            return values.to(device=device, dtype=own)

        weight, bias = vector(0.5), vector(-0.5)
        weight[:1] *= -1
        weight[2:3] = 0
        return Batch(
            x=data(2, 3),
            residual=data(0.2, 1) if residual else None,
            weight=weight if affine else None,
            bias=bias if affine else None,
            running_mean=vector(0) if tracked else None,
            running_var=vector(0.1) if tracked else None,
            dy=data(0.5, 1),
            act=act,
            training=training,
        )

    return run


@pytest.fixture
def compare() -> Callable[..., dict[str, torch.Tensor]]:
    """Asserts that kernels are at most twice as far from float64 as torch's own operations; gives what the kernels computed."""

    def run(batch: Batch, guard: Callable = lambda tensor: tensor, exact: Mapping[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        found, own, exact = batch.results(by_kernels, guard=guard), batch.results(by_torch), exact or batch.results(by_torch, wide=True)
        assert {name: (value.shape, value.dtype) for name, value in found.items()} == {name: (value.shape, value.dtype) for name, value in own.items()}
        errors = {name: relative_error(value, exact[name]) for name, value in found.items()}
        terms = cancellation(batch)
        floors = {name: ULPS[value.dtype] * torch.finfo(value.dtype).eps * max(1, terms.get(name, 1)) for name, value in own.items()}
        allowed = {name: max(2 * relative_error(value, exact[name]), floors[name]) for name, value in own.items()}
        assert {name: error for name, error in errors.items() if error > allowed[name]} == {}, allowed
        return found

    return run


@pytest.fixture
def kernels() -> Callable[[Batch], dict[str, torch.Tensor]]:
    """Gives what the kernels compute."""
    return lambda batch: batch.results(by_kernels)


@pytest.fixture
def torchs() -> Callable[[Batch], dict[str, torch.Tensor]]:
    """Gives what torch's own operations compute, in float64."""
    return lambda batch: batch.results(by_torch, wide=True)
