"""What all phases of a probe share: the model, its batches, its loss, and how they are run."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from normadvisor.probe.distributed import ALONE, Ranks
from normadvisor.probe.running.batches import Source
from normadvisor.probe.running.budget import Budget
from normadvisor.probe.running.failures import failure
from normadvisor.probe.running.losses import Loss
from normadvisor.probe.running.precision import Precision
from normadvisor.probe.running.samples import Batch
from normadvisor.types import JSONValue, ProbeOptions, RunContext

if TYPE_CHECKING:
    from normadvisor.probe.keeping.keep import Kept

__all__ = ["Found", "Session", "device_of", "seed_everything"]

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Found:
    """What the phases measured."""

    series: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    curves: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    facts: dict[str, JSONValue] = field(default_factory=dict)
    layers: dict[str, dict[str, JSONValue]] = field(default_factory=dict)
    """Facts by name of the layer."""
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def layer(self, name: str, key: str, value: JSONValue) -> None:
        """Note a fact of a layer, unless it is unknown."""
        if value is not None:
            self.layers.setdefault(name, {})[key] = value

    def fact(self, key: str, value: JSONValue, why_not: str) -> None:
        """Note a fact of the run, or why it is unknown."""
        if value is None:
            self.missing.setdefault(key, why_not)
        else:
            self.facts[key] = value


@dataclass(slots=True, kw_only=True)
class Session:
    """One probe of one model."""

    model: nn.Module
    """Called in forward passes: with its wrappers."""
    source: Source
    precision: Precision
    options: ProbeOptions
    context: RunContext
    budget: Budget
    kept: Kept
    device: torch.device
    train_flags: dict[nn.Module, bool]
    """``training`` of every module while the model trains."""
    eval_flags: dict[nn.Module, bool]
    """``training`` of every module after ``model.eval()``."""
    keeps_flags: bool
    """Whether flags of single modules are the user's; else ``model.train()`` is called."""
    ops: Mapping[str, str | None]
    """Canonical operation by module name, as if nothing were wrapped; see :func:`normadvisor.probe.recording.layers.walk`."""
    progress: Progress
    ranks: Ranks = ALONE
    loss: Loss | None = None
    found: Found = field(default_factory=Found)
    differentiable: bool = True
    sparse: bool = False
    brief: bool = False
    """Whether the warm-up is a forward pass alone, since steps take too long."""
    one_size: bool = False
    """Whether forward takes no other number of samples than its inputs': their first axis may be none of samples."""

    def forward(self, batch: Batch) -> Any:
        """One forward pass."""
        with self.precision.active():
            return self.model(*batch.args, **batch.kwargs)

    def output_and_loss(self, batch: Batch) -> tuple[Any, Tensor]:
        """One forward pass and its loss; the output is ``None`` where the loss function runs the model itself.

        Raises:
            NormAdvisorError: either fails, memory aside.

        """
        if self.loss is None:
            message = "no loss was chosen"
            raise RuntimeError(message)
        with self.precision.active():
            if self.loss.takes_model:
                return None, self.loss.of(self.model, batch)
            output = self.model(*batch.args, **batch.kwargs)
            return output, self.loss.of(output, batch)

    @contextmanager
    def mode(self, flags: Mapping[nn.Module, bool]) -> Iterator[None]:
        """Modules in the given modes; those that forward put in later are in the mode of the module that holds them."""
        wanted = dict(flags)
        _inherit(self.model, wanted)
        before = {module: module.training for module in wanted}
        for module, flag in wanted.items():
            module.training = flag
        try:
            yield
        finally:
            for module, flag in before.items():
                module.training = flag

    def told(self, what: str, error: BaseException, hint: str | None = None) -> Exception:
        """An exception as an error in words; those about memory and interrupts stay what they are."""
        return failure(self.model, what, error, hint=hint)

    def fresh(self) -> None:
        """Everything as it was before the probe, seeded, gradients absent: how each phase begins."""
        self.kept.restore()
        if self.precision.dtype is not None:
            self.model.to(self.precision.dtype)
        self.ranks.same_weights(self.model)
        for parameter in self.model.parameters():
            parameter.grad = None
        seed_everything(self.options.seed, self.device)
        if not self.keeps_flags:
            self.model.train()  # a model's own train() may freeze parameters, too
        for module, flag in self.train_flags.items():
            module.training = flag


def _inherit(model: nn.Module, flags: dict[nn.Module, bool]) -> None:
    """Give modules without a flag that of the module they stand in."""
    flags.setdefault(model, model.training)
    for module in model.modules():  # holders come before what they hold
        for child in module.children():
            flags.setdefault(child, flags[module])


def seed_everything(seed: int, device: torch.device) -> None:
    """Seed the generators that models draw from: Python's, numpy's where it is loaded, torch's on the CPU and the device."""
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def device_of(model: nn.Module) -> torch.device:
    """Device of the first parameter or buffer; the CPU without any."""
    tensor = next(iter(model.parameters()), next(iter(model.buffers()), None))
    return tensor.device if tensor is not None else torch.device("cpu")
