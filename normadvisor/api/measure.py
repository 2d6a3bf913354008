"""Measures one model in this process, and says what follows: in the worker, and for live models. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from normadvisor.errors import UsageError
from normadvisor.types import Finding, LayerMeasurements, Location, Measurements, ProbeOptions, RunContext, Site, Withdrawn

if TYPE_CHECKING:
    import torch

    from normadvisor.graph.model import ModelGraph
    from normadvisor.probe.distributed import Ranks
    from normadvisor.rulebook.model import Rule
    from normadvisor.targets.inputs import Inputs

__all__ = ["Measured", "Subject", "Told", "measure", "place", "resolve_device"]

Told: TypeAlias = Callable[[str, int, int], None]
"""Takes what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model, and what is known about it."""

    model: torch.nn.Module
    target: str
    """How it is called in the report."""
    context: RunContext
    root: Path
    """Findings point into files below it when they can."""
    graph: ModelGraph | None = None
    """``None`` where it could not be traced."""
    inputs: Inputs | None = None
    """With values; drawn anew for every batch."""
    batches: Iterable[Any] | None = None
    loss_fn: Callable[..., Any] | None = None
    optimizer: torch.optim.Optimizer | None = None
    sites: Mapping[str, Site] | None = None
    """Where modules were constructed, by qualified name."""
    defined_at: Site | None = None
    ranks: Ranks | None = None
    """The processes that measure it together; this one alone when ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Numbers, and what they say."""

    measurements: Measurements
    findings: tuple[Finding, ...]
    """Those of static rules as the measurements left them, then those of rules of scope ``probe``."""
    withdrawn: tuple[Withdrawn, ...]


def measure(subject: Subject, options: ProbeOptions, rules: Sequence[Rule], *, static: Sequence[Finding] = (), told: Told) -> Measured:
    """Train a model for a few steps, put everything back, and match the rules to what was measured.

    Args:
        subject: the model, on the device it is to run on.
        options: how to measure.
        rules: of any scope.
        static: findings of the model that rest on its structure.
        told: called as the work goes on.

    Raises:
        NormAdvisorError: the model cannot be run with these inputs, its loss has no gradient, or a rule fails.

    """
    from normadvisor.match.measured import judged, measured_findings
    from normadvisor.probe.distributed import ALONE
    from normadvisor.probe.running.run import probe_model

    measurements = probe_model(
        subject.model, options, inputs=subject.inputs, batches=subject.batches, loss_fn=subject.loss_fn, optimizer=subject.optimizer,
        graph=subject.graph, target=subject.target, context=subject.context, progress=told, ranks=subject.ranks or ALONE,
    )  # fmt: skip
    measurements = replace(measurements, target=subject.target)
    measurements = _with_locations(measurements, subject)
    own = [rule for rule in rules if rule.scope == "probe"]
    kept, withdrawn = judged(static, measurements, rules, subject.context)
    place_of_model = _location(subject.defined_at, subject)
    found = measured_findings(measurements, own, subject.context, subject.root, static=kept, place=place_of_model)
    return Measured(measurements=measurements, findings=(*kept, *found), withdrawn=tuple(withdrawn))


def _with_locations(measurements: Measurements, subject: Subject) -> Measurements:
    """The measurements with the line that constructs each layer, where that is known."""
    sites = subject.sites or {}

    def located(layer: LayerMeasurements) -> LayerMeasurements:
        site = sites.get(layer.name)
        if site is None and subject.graph is not None and layer.name in subject.graph.modules:
            site = subject.graph.modules[layer.name].site
        return layer if layer.location is not None else replace(layer, location=_location(site, subject))

    return replace(measurements, layers=tuple(located(layer) for layer in measurements.layers))


def _location(site: Site | None, subject: Subject) -> Location | None:
    """The innermost frame of a site in the target's own files, else the innermost of all."""
    from normadvisor.graph.model import ModelGraph
    from normadvisor.match.places import Places
    from normadvisor.types import TraceKind

    graph = subject.graph or ModelGraph(target=subject.target, trace=TraceKind.NONE, mode="train", nodes=[], modules={})
    found = Places(graph, subject.root).of_site(site, built=True)
    return None if found is None else found.frame.location


def resolve_device(wanted: str, name: str = "--device") -> torch.device | None:
    """The device that is asked for; ``None`` for the one that suits.

    Args:
        wanted: as the flag or the option says it.
        name: of the flag or the option, for messages.

    Raises:
        UsageError: there is no such device, or torch cannot use it here.

    """
    import torch

    if wanted == "auto":
        return None
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"{name}: torch knows no device '{wanted}'", hint="auto, cpu, cuda, cuda:1, mps") from error
    if device.type == "cpu":
        return device
    if device.type not in {"cuda", "mps"}:
        raise UsageError(f"{name} cannot be '{wanted}'", hint="auto, cpu, cuda, cuda:1, mps")
    if not (torch.cuda.is_available() if device.type == "cuda" else torch.backends.mps.is_available()):
        message = f"{name} {wanted}: torch {torch.__version__} finds no {device.type.upper()} device that it can use here"
        raise UsageError(message, hint="--device cpu measures without one")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise UsageError(f"{name} {wanted}: there {'is' if count == 1 else 'are'} only {count}, counted from 0")
    return device


def place(model: torch.nn.Module, wanted: str) -> torch.nn.Module:
    """Move a model to the device that is asked for.

    ``auto`` is an accelerator where there is one; a model that its own code put on one stays there.

    Raises:
        UsageError: there is no such device, or torch cannot use it here.

    """
    import torch

    device = resolve_device(wanted)
    if device is None:
        held = {tensor.device.type for tensor in (*model.parameters(), *model.buffers())}
        if held - {"cpu", "meta"}:
            return model
        if torch.cuda.is_available():
            device = torch.device("cuda")
        elif torch.backends.mps.is_available():
            device = torch.device("mps")
        else:
            return model
    return model.to(device)
