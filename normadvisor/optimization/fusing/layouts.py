"""How the tensors that a layer gets lie in memory: kernels are chosen, and measured, by it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from normadvisor.graph.values import swapped, tensors_in
from normadvisor.optimization.candidate import Setting

__all__ = ["Layout", "recorded"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Shape, dtype and strides of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    stride: tuple[int, ...]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Layout:
        """Of a tensor, on whatever device."""
        return cls(tuple(tensor.shape), tensor.dtype, tuple(tensor.stride()))

    @classmethod
    def of_node(cls, node: Any) -> Layout | None:
        """Of the value that a node of a traced forward had; ``None`` if it is no tensor."""
        value = node.meta.get("value") if isinstance(node, fx.Node) else None
        return cls.of(value) if isinstance(value, torch.Tensor) else None

    @property
    def key(self) -> str:
        """``8x64x56x56 float16 channels_last``."""
        return f"{'x'.join(map(str, self.shape))} {str(self.dtype).removeprefix('torch.')} {self._format()}"

    def _format(self) -> str:
        probe = torch.empty_strided(self.shape, self.stride, device="meta")
        if probe.is_contiguous():
            return "contiguous"
        for rank, name in ((4, "channels_last"), (5, "channels_last_3d")):
            if probe.dim() == rank and probe.is_contiguous(memory_format=getattr(torch, name)):
                return name
        return f"strides {'x'.join(map(str, self.stride))}"

    def draw(self, device: torch.device, seed: int = 0) -> torch.Tensor:
        """A tensor that lies the same way, with normally distributed values."""
        made = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=device)
        generator = torch.Generator(device=device).manual_seed(seed)
        return made.copy_(torch.randn(self.shape, dtype=torch.float32, device=device, generator=generator))


def recorded(model: nn.Module, names: Collection[str], setting: Setting) -> dict[str, Layout]:
    """Layouts of what the named layers get first in one run of the model, in eval mode so that nothing in it changes.

    Layers that do not run, or do not get a tensor, are left out.
    """
    found: dict[str, Layout] = {}

    def note(name: str, args: Any, kwargs: Any) -> None:
        first = next(tensors_in((args, kwargs)), None)
        if first is not None:
            found.setdefault(name, Layout.of(first))

    with swapped(model, None), torch.no_grad():
        model.eval()
        for name in names:
            model.get_submodule(name).register_forward_pre_hook(
                lambda _layer, args, kwargs, name=name: note(name, args, kwargs), with_kwargs=True
            )
        model(*setting.inputs.args, **setting.inputs.kwargs)
    return found
