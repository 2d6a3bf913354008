"""Numbers that the steps run in: as the model is, another dtype, or automatic mixed precision with its loss scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from normadvisor.errors import UsageError
from normadvisor.types import PRECISIONS

__all__ = ["Precision", "choose_precision"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}


@dataclass(slots=True)
class Precision:
    """How forward passes, losses and updates are run."""

    name: str
    device: torch.device
    dtype: torch.dtype | None = None
    """Of parameters and inputs; ``None``: as they are."""
    cast: torch.dtype | None = None
    """Of automatic mixed precision."""
    scaler: torch.amp.GradScaler | None = None
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Run forward passes and losses in this precision."""
        if self.cast is None:
            yield
            return
        try:
            with torch.autocast(self.device.type, dtype=self.cast):
                yield
        finally:
            # Within a block of the caller's the weights that were cast would be kept, and steps go unseen.
            torch.clear_autocast_cache()

    @property
    def scale(self) -> float:
        """Factor of the loss now."""
        return float(self.scaler.get_scale()) if self.scaler is not None else 1.0

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to go backward from."""
        return self.scaler.scale(loss) if self.scaler is not None else loss

    def update(self, optimizer: torch.optim.Optimizer) -> None:
        """One step of the optimizer; left out where scaled gradients overflowed, as in training."""
        if self.scaler is None:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()


def own_name(model: nn.Module) -> str:
    """Precision that a model is in: the dtype of most of its parameters."""
    counted: Counter[torch.dtype] = Counter()
    for parameter in model.parameters():
        if parameter.is_floating_point() and not isinstance(parameter, UninitializedParameter):
            counted[parameter.dtype] += parameter.numel()
    return _NAMES.get(counted.most_common(1)[0][0], str(counted.most_common(1)[0][0])) if counted else "fp32"


def choose_precision(
    name: str | None, model: nn.Module, device: torch.device, *, surrounding: torch.dtype | None = None
) -> Precision:  # fmt: skip
    """The precision that was asked for, that of the automatic mixed precision which is on around the call, or the model's own.

    ``amp`` is float16 with a loss scale where the device is a GPU, else bfloat16 without one, as ``torch`` advises for CPUs.

    Raises:
        UsageError: an unknown name.

    """
    own = own_name(model)
    if name is None and surrounding is not None:
        scaler = torch.amp.GradScaler(device.type) if surrounding is torch.float16 and device.type == "cuda" else None
        words = f"automatic mixed precision in {str(surrounding).removeprefix('torch.')}, as around the call"
        return Precision("amp", device, cast=surrounding, scaler=scaler, notes=[words])
    if name is None:
        return Precision(own, device, _DTYPES[own] if own in ("bf16", "fp16") else None)
    if name not in PRECISIONS:
        message = f"unknown precision {name!r}"
        raise UsageError(message, hint=f"one of {', '.join(PRECISIONS)}")
    if name == "amp":
        if device.type == "cuda":
            scaler = torch.amp.GradScaler(device.type)
            return Precision(name, device, cast=torch.float16, scaler=scaler)
        return Precision(name, device, cast=torch.bfloat16, notes=[f"amp on {device.type} is bfloat16, which needs no loss scale"])
    return Precision(name, device, _DTYPES[name])
