"""A batch that a model is trained with, as inputs to trace it with. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normadvisor.errors import NormAdvisorError
from normadvisor.targets.inputs import Inputs

if TYPE_CHECKING:
    import torch

__all__ = ["inputs_of"]


def inputs_of(batch: Any, model: torch.nn.Module) -> Inputs | None:
    """What of a batch goes to the model, on its device; ``None`` where that cannot be told."""
    import torch

    from normadvisor.graph.values import map_tensors, to_meta
    from normadvisor.probe.running.batches import split_batch

    try:
        parts = split_batch(batch, model)
    except NormAdvisorError:
        return None
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    device = devices.pop() if len(devices) == 1 else torch.device("cpu")

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        return to_meta(tensor.detach()) if device.type == "meta" else tensor.detach().to(device)

    args, kwargs = map_tensors(tuple(parts.args), placed), map_tensors(dict(parts.kwargs), placed)
    texts = [_text(value) for value in args] + [f"{name}={_text(value)}" for name, value in kwargs.items()]
    return Inputs(args, kwargs, " ".join(texts), given=True, why="the batches")


def _text(value: Any) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        shape = "x".join(map(str, value.shape)) or "scalar"
        return shape if value.dtype is torch.float32 and value.ndim else f"{shape}:{str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        inner = ", ".join(map(_text, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return str(value) if value is None or isinstance(value, bool | int | float) else type(value).__name__
