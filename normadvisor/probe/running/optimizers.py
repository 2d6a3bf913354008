"""The optimizer of the recorded steps."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from normadvisor.errors import UsageError
from normadvisor.types import PROBE_OPTIMIZERS
from normadvisor.types.numbers import number

__all__ = ["DEFAULT", "RATES", "Chosen", "choose_optimizer", "small_number"]

_OPTIONAL = inspect.Parameter("closure", inspect.Parameter.KEYWORD_ONLY, default=None)
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
        UsageError: an unknown name, a learning rate that is not positive, or an optimizer whose steps compute the loss themselves.

    """
    if lr is not None and not lr > 0:
        message = f"the learning rate {lr} is not positive"
        raise UsageError(message)
    if given is not None:
        if inspect.signature(given.step).parameters.get("closure", _OPTIONAL).default is inspect.Parameter.empty:
            message = f"the steps of {type(given).__name__} compute the loss several times, and a probe's steps compute it once"
            raise UsageError(message, hint="give another optimizer, or none")
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
    note = "" if name is not None else f"optimizer: {kind} with learning rate {number(rate)}, because {why}"
    return Chosen(_made(kind, trainable, rate), kind, rate, given=name is not None, note=note)


def small_number(parameters: Sequence[nn.Parameter]) -> float:
    """What Adam and its like add to the root they divide by: their 1e-8, or for weights in float16, where that is 0, a ten-thousandth."""
    return 1e-4 if any(parameter.dtype == torch.float16 for parameter in parameters) else 1e-8


def _made(kind: str, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=lr)
    if kind == "momentum":
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9)
    eps = small_number(parameters)
    if kind == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr, eps=eps)
    if kind == "adam":
        return torch.optim.Adam(parameters, lr=lr, eps=eps)
    return torch.optim.AdamW(parameters, lr=lr, eps=eps)
