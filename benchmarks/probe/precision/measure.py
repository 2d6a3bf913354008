"""One model, built, traced and probed as the worker of ``normadvisor probe`` does it."""

from __future__ import annotations

import contextlib
import io
import math
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.probe.precision.models import Entry
from normadvisor.api.examine import Traced, trace_built
from normadvisor.api.measure import Subject, measure
from normadvisor.errors import NormAdvisorError
from normadvisor.rulebook import load_rules
from normadvisor.targets.build import build, build_real
from normadvisor.targets.load import Loaded, load
from normadvisor.targets.parse import parse_target
from normadvisor.types import Measurements, ProbeOptions, RunContext

__all__ = ["Row", "probe_entry"]

_RULES = list(load_rules().rules.values())
"""Read once, before the processes that measure are forked."""
_STEPS = 5
"""Recorded: more than the three that rules ask for, and few, so that time is left for the other phases."""


@dataclass(slots=True)
class Row:
    """What one model gave. ``stage`` is the last one reached: ``trace``, ``build``, ``probe`` or ``done``."""

    family: str
    name: str
    stage: str = "trace"
    error: str | None = None
    seconds: float = 0.0
    budget: float = 0.0
    loss: str | None = None
    loss_words: str = ""
    batch: str = ""
    steps: int = 0
    layers: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def probe_entry(entry: Entry, budget: float) -> dict[str, Any]:
    """Probe one model in this process, which should be the model's own.

    Args:
        entry: the model.
        budget: seconds for measuring it.

    Returns:
        The fields of :class:`Row`; ``seconds`` is the probe alone.

    """
    row = Row(entry.family, entry.name, budget=budget)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _fill(row, entry)
        except Exception as error:  # noqa: BLE001 - the point is to list whatever goes wrong
            row.error = f"{type(error).__name__}: {error}"
    return asdict(row)


def _fill(row: Row, entry: Entry) -> None:
    context = RunContext()
    loaded, known = _traced(entry, context)
    row.stage = "build"
    built = build_real(loaded, seed=0)
    subject = Subject(
        model=built.model, target=entry.name, context=context, root=Path.cwd(), graph=known.graph, sites=built.sites,
        inputs=None if known.inputs is None else known.inputs.on("cpu"), defined_at=built.defined_at,
    )  # fmt: skip
    row.stage = "probe"
    started = time.perf_counter()
    try:
        found = measure(
            subject, ProbeOptions(device="cpu", steps=_STEPS, budget=row.budget), _RULES, told=lambda _what, _done, _total: None
        )
    finally:
        row.seconds = time.perf_counter() - started
    _note(row, found.measurements)
    row.findings = [
        {"rule": each.rule, "severity": str(each.severity), "module": ", ".join(each.modules[:1]), "message": each.message}
        for each in found.findings
    ]
    row.stage = "done"


def _traced(entry: Entry, context: RunContext) -> tuple[Loaded, Traced]:
    """The first target and inputs that fit together: small ones, then the model's own."""
    attempts = [*((target, (image,)) for target, image in entry.smaller), (entry.target, entry.inputs), (entry.target, ())]
    for target, inputs in attempts[:-1]:
        with contextlib.suppress(NormAdvisorError):
            loaded = load(parse_target(target, Path.cwd()), real=True)
            known = trace_built(build(loaded), target=entry.name, inputs=inputs, context=context)
            if known.inputs is not None:
                return loaded, known
    target, inputs = attempts[-1]
    loaded = load(parse_target(target, Path.cwd()), real=True)
    return loaded, trace_built(build(loaded), target=entry.name, inputs=inputs, context=context)


def _note(row: Row, measurements: Measurements) -> None:
    setup: Any = measurements.setup
    row.loss, row.batch, row.steps, row.layers = setup["loss"], str(setup["inputs"]), setup["steps"], len(measurements.layers)
    row.loss_words = next((note.removeprefix("loss: ") for note in measurements.notes if note.startswith("loss: ")), "")
    row.facts = {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in measurements.facts.items()}
    row.missing, row.notes = dict(measurements.missing), list(measurements.notes)
