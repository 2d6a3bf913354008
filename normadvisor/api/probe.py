"""Measures targets: the way from words, or from a live model, to numbers and what they say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.api.asked import asked
from normadvisor.api.check import run_check
from normadvisor.api.options import Checked, CheckOptions
from normadvisor.api.progress import ProgressCallback
from normadvisor.api.shown import ProbeResult
from normadvisor.config import Settings, load_settings
from normadvisor.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["ProbeResult", "measured", "probe"]


def probe(
    model: torch.nn.Module | str | Path | Sequence[str | Path],
    batch: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    settings: Settings | None = None,
    inputs: Any = None,
    optimizer: torch.optim.Optimizer | str | None = None,
    data: Iterable[Any] | str | None = None,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> ProbeResult:
    """Train a model for a few steps, measure every layer, and put everything back as it was.

    >>> print(normadvisor.probe("model.py", steps=5))  # doctest: +SKIP
    >>> result = normadvisor.probe(model, (images, labels), torch.nn.functional.cross_entropy)  # doctest: +SKIP
    >>> result.measurements[0].layers[0].series["grad_norm"]  # doctest: +SKIP

    Args:
        model: a ``torch.nn.Module`` of this process, or targets as the command line takes them, which run in worker processes.
        batch: one batch: a tensor, ``(inputs, target)``, a dict ...; drawn at random when ``None``. Only for a live model.
        loss_fn: called as ``loss_fn(output, target)`` or ``loss_fn(output, batch)``; chosen by the output when ``None``. Only for a live
            model; for targets say ``loss="module:function"``.
        settings: the configuration; found as on the command line when ``None``.
        inputs: as ``--input`` takes them; inferred when ``None``.
        optimizer: the optimizer of a live model, which is used and put back; or a name.
        data: several batches for a live model, or ``"module:function"`` for targets.
        progress: called at every step.
        options: fields of :class:`normadvisor.types.ProbeOptions` (``steps``, ``lr``, ``budget`` ...) and of the run context (``task``,
            ``batch_size`` ...).

    Raises:
        NormAdvisorError: an option, the configuration or a rule is wrong. What is wrong with a model stands in ``report.problems``.

    """
    begin = time.monotonic()
    checked = measured(
        model, batch, loss_fn, settings=settings, inputs=inputs, optimizer=optimizer, data=data, progress=progress, static_rules=False,
        options=options,
    )  # fmt: skip
    return ProbeResult(report=checked.report, settings=checked.settings, rules=checked.rules, seconds=time.monotonic() - begin)


def measured(  # noqa: PLR0913 - as the public functions, each by its name
    model: Any, batch: Any, loss_fn: Callable[..., Any] | None, *, settings: Settings | None, inputs: Any, optimizer: Any, data: Any,
    progress: ProgressCallback | None, static_rules: bool, options: dict[str, Any],
) -> Checked:  # fmt: skip
    """A report with measurements; the arguments are those of :func:`probe`.

    ``static_rules`` says whether findings that rest on the structure of models are reported as well.
    """
    live = not isinstance(model, str | Path | Sequence)
    if isinstance(optimizer, str):
        options = {**options, "optimizer": optimizer}
    if isinstance(data, str):
        options = {**options, "data": data}
    wanted = asked(options)
    if live:
        from normadvisor.api.live_probe import LiveBatches, probe_module

        if isinstance(data, str):
            message = "data='module:function' is for targets that are loaded in a worker"
            raise UsageError(message, hint="pass the batches themselves: data=loader")
        given = LiveBatches(batch=batch, batches=data, loss_fn=loss_fn, optimizer=None if isinstance(optimizer, str) else optimizer)
        return probe_module(
            model, settings, given, inputs=inputs, wanted=wanted, static_rules=static_rules, progress=progress
        )  # fmt: skip
    for name, value in (("batch", batch), ("loss_fn", loss_fn), ("data", data), ("optimizer", optimizer)):
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{name} is for a torch.nn.Module of this process; targets are loaded in a worker", hint=_INSTEAD[name])
    texts = [str(model)] if isinstance(model, str | Path) else [str(target) for target in model]
    texts_of_inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs or ())
    check_options = CheckOptions(inputs=texts_of_inputs, context=wanted.context, probing=wanted.probing, static_rules=static_rules)
    found = (lambda _start: settings) if settings is not None else load_settings
    return run_check(texts, found, check_options, progress=progress)


_INSTEAD = {
    "batch": "say data='module:function', which returns batches",
    "loss_fn": "say loss='module:function'",
    "data": "say data='module:function', which returns batches",
    "optimizer": "say optimizer='adamw'",
}
