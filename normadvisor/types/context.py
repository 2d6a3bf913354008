"""The run context: what the user says about the training that the model alone does not tell."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

__all__ = ["DISTRIBUTED", "LOSSES", "PRECISIONS", "TASKS", "RunContext"]

TASKS = (
    "classification", "detection", "segmentation", "generation", "language_model", "contrastive", "regression", "rl", "video",
    "audio", "federated", "none",
)  # fmt: skip
LOSSES = ("cross_entropy", "nll", "bce", "bce_with_logits", "mse", "l1", "huber", "gaussian_nll", "none")
DISTRIBUTED = ("none", "ddp", "fsdp")
PRECISIONS = ("fp32", "bf16", "fp16", "amp")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """How the model is going to be trained. ``None`` means unknown, and an unknown never fires a rule.

    ``batch_size`` is global: samples per optimizer step over all ``world_size`` devices.
    """

    batch_size: int | None = None
    task: str | None = None
    loss: str | None = None
    precision: str | None = None
    world_size: int | None = None
    distributed: str | None = None
    fine_tune: bool | None = None

    @property
    def per_device_batch(self) -> int | None:
        """Samples per device and step (at least 1), ``None`` when the batch size is unknown."""
        if self.batch_size is None:
            return None
        return max(1, self.batch_size // (self.world_size or 1))

    def merged(self, over: RunContext) -> Self:
        """This context with every known value of ``over`` put over it."""
        known: dict[str, Any] = {f.name: value for f in fields(over) if (value := getattr(over, f.name)) is not None}
        return replace(self, **known)
