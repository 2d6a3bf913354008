"""The options of commands that measure, each with its flag and its help, and what they say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from normadvisor.cli.options import positive
from normadvisor.errors import UsageError

__all__ = ["budget_seconds", "context_flags", "probe_options", "seed_number"]

Device = Annotated[str | None, typer.Option(metavar="NAME", help="auto (default: an accelerator if there is one), cpu, cuda, cuda:1, mps.")]
Steps = Annotated[str | None, typer.Option(metavar="N", help="Training steps to measure; 10 by default.")]
Data = Annotated[
    str | None,
    typer.Option(metavar="FUNCTION", help="module:function or file.py:function that returns batches, such as a DataLoader; else drawn."),
]
Loss = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="cross_entropy, mse ... as in check, or module:function, called as function(output, target)."),
]
Optimizer = Annotated[str | None, typer.Option(metavar="NAME", help="sgd, momentum, adam, adamw or rmsprop.")]
LearningRate = Annotated[str | None, typer.Option("--lr", metavar="RATE", help="Learning rate.")]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Seed of weights, batches and everything random; 0 by default.")]
Exact = Annotated[bool, typer.Option("--exact", help="Reduce whole activations instead of samples of large ones: slower.")]
Budget = Annotated[
    str | None, typer.Option(metavar="TIME", help="Time for measuring one model: 60s (default), 2m, 1h; what does not fit is left out.")
]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts, in one file.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything that was measured and found.")]
Log = Annotated[
    str | None, typer.Option(metavar="PLACE", help="Log the steps as training would: tensorboard:DIR, csv:FILE or wandb:PROJECT.")
]
Compare = Annotated[Path | None, typer.Option("--compare", metavar="FILE", help="An earlier run's --json file to compare with.")]

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h)?", re.ASCII)
_UNITS = {"ms": 0.001, None: 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_LONGEST = 86_400.0


def budget_seconds(text: str) -> float:
    """Seconds of a time such as ``60s``, ``90``, ``2m`` or ``0.5h``.

    Raises:
        UsageError: it is none, or not above 0, or more than a day.

    """
    match = _TIME.fullmatch(text.strip()) if len(text) < 30 else None
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise UsageError(f"--budget cannot be '{shown}'", hint="a time above 0 and up to a day: 60s, 2m, 0.5h")
    return seconds


def probe_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of :class:`normadvisor.types.ProbeOptions` that flags say.

    Args:
        given: the parameters of the command, by name.

    Raises:
        UsageError: the value of a flag is wrong.

    """
    from normadvisor.api.asked import check_values
    from normadvisor.cli.options import context_of

    texts = ("device", "data", "loss", "optimizer", "precision")
    found: dict[str, Any] = {name: given[name] for name in texts if given.get(name) is not None}
    for name in ("steps", "memory"):
        if given.get(name) is not None:
            found[name] = int(positive(f"--{name}", given[name], whole=True))
    if given.get("lr") is not None:
        found["lr"] = positive("--lr", given["lr"], whole=False)
    if given.get("seed") is not None:
        found["seed"] = seed_number(given["seed"])
    if given.get("budget") is not None:
        found["budget"] = budget_seconds(given["budget"])
    if given.get("exact"):
        found["exact"] = True
    check_values(found, "--", "-")
    context = context_of(**{name: given.get(name) for name in ("batch_size", "precision", "world_size")})
    if context.per_device_batch is not None and given.get("batch_size") is not None:
        found["batch_size"] = context.per_device_batch
    return found


def seed_number(text: str) -> int:
    """What ``--seed`` says.

    Raises:
        UsageError: it is no whole number, or too large.

    """
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**63:
        return int(text)
    shown = text if len(text) <= 60 else text[:57] + "..."
    raise UsageError(f"--seed cannot be '{shown}'", hint="a whole number from 0 to 2**63 - 1")


def context_flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """The loss as the run context takes it: a name, not a function."""
    from normadvisor.api.wanted import is_function

    loss = given.get("loss")
    return {"loss": None if loss is None or is_function(loss) else loss}
