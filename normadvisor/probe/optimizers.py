"""The optimizer of the recorded steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from normadvisor.errors import UsageError
from normadvisor.types import PROBE_OPTIMIZERS

__all__ = ["DEFAULT", "RATES", "Chosen", "choose_optimizer"]

DEFAULT = "adamw"
RATES = {"sgd": 0.01, "momentum": 0.01, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3}
"""Learning rates where nobody said: the defaults of ``torch.optim.Adam`` and ``AdamW``, RMSprop's as Adam's, 0.01 for SGD."""
PROBE_RATE = 1e-4
"""Of the default optimizer where nothing at all was said: small enough that steps show the network as it was initialized rather than what
an unsuited rate makes of it, and the same change whatever the scale of the loss, since Adam's steps do not depend on that."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An optimizer and how it came to be."""

    optimizer: torch.optim.Optimizer
    name: str
    lr: float
    given: bool
    """Whether the user said or gave it."""
    note: str = ""


def choose_optimizer(
    parameters: Iterable[nn.Parameter], *, given: torch.optim.Optimizer | None, name: str | None, lr: float | None, sparse: bool = False
) -> Chosen | None:
    """The user's optimizer, the one that was asked for, or AdamW; ``None`` where no parameter is trainable.

    ``sparse`` says that some gradients are sparse: AdamW takes none, so SGD is the default then.

    Raises:
        UsageError: an unknown name, or a learning rate that is not positive.

    """
    if lr is not None and not lr > 0:
        message = f"the learning rate {lr} is not positive"
        raise UsageError(message)
    if given is not None:
        if lr is not None:
            for group in given.param_groups:
                group["lr"] = lr
        rate = float(given.param_groups[0].get("lr", float("nan")))
        return Chosen(given, type(given).__name__, rate, given=True)
    if name is not None and name not in PROBE_OPTIMIZERS:
        message = f"unknown optimizer {name!r}"
        raise UsageError(message, hint=f"one of {', '.join(PROBE_OPTIMIZERS)}")
    trainable = [p for p in parameters if p.requires_grad]
    if not trainable:
        return None
    kind = name or ("sgd" if sparse else DEFAULT)
    rate = lr if lr is not None else PROBE_RATE if name is None and not sparse else RATES[kind]
    why = "none was given and some gradients are sparse" if sparse else "none was given"
    note = "" if name is not None else f"optimizer: {kind} with learning rate {rate:g}, because {why}"
    return Chosen(_made(kind, trainable, rate), kind, rate, given=name is not None, note=note)


def _made(kind: str, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=lr)
    if kind == "momentum":
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9)
    if kind == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr)
    if kind == "adam":
        return torch.optim.Adam(parameters, lr=lr)
    return torch.optim.AdamW(parameters, lr=lr)
