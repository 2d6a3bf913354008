"""Layers of gated activations."""

from __future__ import annotations

import torch.fx
from torch import Tensor, nn

from normadvisor.fused.common.activations import DEFAULT_SLOPE, IN_TORCH, activation_of, check_activation
from normadvisor.fused.common.triton_support import INTERPRETED
from normadvisor.fused.gated.functional import gated_packed, gelu_name
from normadvisor.fused.gated.registry import implementation as find_implementation

__all__ = ["FusedGEGLU", "FusedGatedActivation", "FusedSwiGLU"]


# torch.fx records the call instead of following it: what it decides depends on devices and shapes.
torch.fx.wrap("_compute")
torch.fx.wrap("_compute_packed")


def _compute(gate: Tensor, up: Tensor, act: str, implementation: str) -> Tensor:
    result: Tensor = find_implementation("gated", implementation).run(gate, up, act)
    return result


def _compute_packed(x: Tensor, act: str, dim: int, gate_last: bool, implementation: str) -> Tensor:
    # Liger takes two tensors.
    run = find_implementation("gated_packed", "torch" if implementation == "torch" else "fused").run
    result: Tensor = run(x, act, dim, gate_last=gate_last)
    return result


class FusedGatedActivation(nn.Module):
    """``act(gate) * up``: called with ``(gate, up)``, or with one tensor that holds both halves.

    It has no parameters. Where the fused kernels cannot run, torch's own operations do.

    Args:
        act: one of :data:`~normadvisor.fused.common.activations.ACTIVATIONS`.
        dim: dimension that holds both halves.
        gate_last: whether the second half is the gate.
        implementation: name of one of :func:`~normadvisor.fused.gated.registry.implementations`, for two tensors.

    """

    def __init__(self, act: str, dim: int = -1, *, gate_last: bool = False, implementation: str = "fused") -> None:
        super().__init__()
        self.act = check_activation(act)
        self.dim = dim
        self.gate_last = gate_last
        self.implementation = find_implementation("gated", implementation).name

    @staticmethod
    def from_module(original: nn.Module, dim: int = -1, *, gate_last: bool = False, implementation: str = "fused") -> FusedGatedActivation:
        """Make a layer from the activation of the gate.

        Args:
            original: :class:`torch.nn.SiLU`, :class:`torch.nn.GELU` ...
            dim: dimension that holds both halves.
            gate_last: whether the second half is the gate.
            implementation: name of one of :func:`~normadvisor.fused.gated.registry.implementations`, for two tensors.

        Raises:
            ValueError: the kernels do not know the activation.

        """
        found = activation_of(original)
        if found is None or found[1] != DEFAULT_SLOPE:
            raise ValueError(f"no kernel computes {original!r}")
        module = FusedGatedActivation(found[0], dim, gate_last=gate_last, implementation=implementation)
        return module.train(original.training)

    def forward(self, input: Tensor, up: Tensor | None = None) -> Tensor:  # noqa: A002 (torch's name)
        """Activate and multiply.

        Args:
            input: the gate, or without ``up`` both halves.
            up: of the same shape as the gate.

        """
        if type(input) is Tensor and not (input.is_cuda or INTERPRETED):  # torch.fx traces with something else
            if up is None:
                return gated_packed(input, self.act, self.dim, gate_last=self.gate_last)
            return IN_TORCH[self.act](input) * up
        if up is None:
            return _compute_packed(input, self.act, self.dim, self.gate_last, self.implementation)
        return _compute(input, up, self.act, self.implementation)

    def extra_repr(self) -> str:
        """Show the arguments, those that are unusual."""
        shown = f"act={self.act!r}"
        if self.dim != -1:
            shown += f", dim={self.dim}"
        if self.gate_last:
            shown += ", gate_last=True"
        return shown if self.implementation == "fused" else f"{shown}, implementation={self.implementation!r}"


class FusedSwiGLU(FusedGatedActivation):
    """``silu(gate) * up`` (Shazeer 2020): called with ``(gate, up)``, or with one tensor that holds both halves.

    Args:
        dim: dimension that holds both halves.
        gate_last: whether the second half is the gate.
        implementation: name of one of :func:`~normadvisor.fused.gated.registry.implementations`, for two tensors.

    """

    def __init__(self, dim: int = -1, *, gate_last: bool = False, implementation: str = "fused") -> None:
        super().__init__("silu", dim, gate_last=gate_last, implementation=implementation)


class FusedGEGLU(FusedGatedActivation):
    """``gelu(gate) * up`` (Shazeer 2020): called with ``(gate, up)``, or with one tensor that holds both halves.

    Args:
        approximate: ``none`` or ``tanh``, as for :class:`torch.nn.GELU`.
        dim: dimension that holds both halves.
        gate_last: whether the second half is the gate.
        implementation: name of one of :func:`~normadvisor.fused.gated.registry.implementations`, for two tensors.

    """

    def __init__(self, approximate: str = "none", dim: int = -1, *, gate_last: bool = False, implementation: str = "fused") -> None:
        super().__init__(gelu_name(approximate), dim, gate_last=gate_last, implementation=implementation)
