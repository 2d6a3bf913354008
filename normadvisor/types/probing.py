"""How a model is to be probed, as asked for on the command line or in Python."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROBE_DEVICES", "PROBE_OPTIMIZERS", "ProbeOptions"]

PROBE_DEVICES = ("auto", "cpu", "cuda", "mps")
PROBE_OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "rmsprop")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """What to run. ``None`` means: chosen by the probe, which says what it chose."""

    device: str = "auto"
    """One of :data:`PROBE_DEVICES`, or a device such as ``cuda:1``."""
    steps: int = 10
    batch_size: int | None = None
    """Samples per step and rank."""
    loss: str | None = None
    """A name of :data:`normadvisor.types.LOSSES`, or ``module:function`` that is called as ``function(output, batch)``."""
    data: str | None = None
    """``module:function`` that returns an iterable of batches."""
    optimizer: str | None = None
    """One of :data:`PROBE_OPTIMIZERS`."""
    lr: float | None = None
    """Learning rate."""
    precision: str | None = None
    """One of :data:`normadvisor.types.PRECISIONS`."""
    seed: int = 0
    budget: float | None = None
    """Seconds for everything; steps and further measurements that do not fit are left out, and said."""
    memory: int | None = None
    """MiB for everything; a batch that does not fit is halved, and said."""
    exact: bool = False
    """Reduce whole activations instead of samples of them: slower."""
    static_only: bool = False
    """Only what findings of static rules need."""
