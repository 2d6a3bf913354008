"""What holds while a module is traced: the tensors it has, the modes torch is in, and devices without data."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from normadvisor.optimization.forward.guards import reached

__all__ = ["first_line", "modes", "on_meta", "tensor_paths"]

_is_grad_enabled, _is_autocast_enabled = torch.is_grad_enabled, torch.is_autocast_enabled
"""As they are while no forward is traced: then they note who asks."""


def tensor_paths(module: nn.Module) -> dict[int, tuple[str, str]]:
    """Names of all tensors that the module and its children hold, relative to it, and expressions that lead to them."""
    found: dict[int, tuple[str, str]] = {}
    for path, inner in module.named_modules():
        for kind, held in (("_parameters", inner._parameters), ("_buffers", inner._buffers), ("", vars(inner))):  # noqa: SLF001 -- the public ones skip attributes
            for name, value in held.items():
                if isinstance(value, torch.Tensor):
                    full = f"{path}.{name}" if path else name
                    found.setdefault(id(value), (full, reached(full, kind)))
    return found


def modes(device: torch.device) -> tuple[Any, ...]:
    """Grad mode and autocast."""
    kind = device.type if torch.amp.is_autocast_available(device.type) else "cpu"
    return _is_grad_enabled(), _is_autocast_enabled(kind), torch.get_autocast_dtype(kind)


def on_meta(value: Any) -> Any:
    """Devices replaced by the one without data."""
    if isinstance(value, torch.device):
        return torch.device("meta")
    if type(value) in {list, tuple}:
        return type(value)(on_meta(item) for item in value)
    if type(value) is dict:
        return {key: "meta" if key == "device" and item is not None else on_meta(item) for key, item in value.items()}
    return value


def first_line(error: BaseException) -> str:
    """What an error says, in short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
