"""Measures a module of this process: no worker, no building; it is left exactly as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.api.asked import Asked
from normadvisor.api.live import input_texts
from normadvisor.api.options import Checked
from normadvisor.api.outcome import Outcome, report_of
from normadvisor.api.progress import Progress, ProgressCallback
from normadvisor.api.wanted import DEFAULT_BUDGET
from normadvisor.config import Settings, load_settings
from normadvisor.errors import NormAdvisorError, UsageError
from normadvisor.types import ProbeOptions

if TYPE_CHECKING:
    import torch

    from normadvisor.api.examine import Examined, Traced
    from normadvisor.rulebook.model import Rule
    from normadvisor.targets.inputs import Inputs

__all__ = ["LiveBatches", "probe_module"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBatches:
    """What a live model is trained with."""

    batch: Any = None
    batches: Iterable[Any] | None = None
    loss_fn: Any = None
    optimizer: Any = None


def probe_module(
    model: object, settings: Settings | None, given: LiveBatches, *, inputs: Any, wanted: Asked, static_rules: bool,
    progress: ProgressCallback | None,
) -> Checked:  # fmt: skip
    """Check and measure a built model.

    Args:
        model: left as it was found, bit by bit.
        settings: the configuration; the nearest one above the working directory when ``None``.
        given: batches, loss and optimizer.
        inputs: as :func:`normadvisor.api.check` takes them.
        wanted: how to measure it, and how it is trained.
        static_rules: whether findings that rest on its structure are reported.
        progress: called at every step.

    Raises:
        NormAdvisorError: ``model`` is no module, an argument is wrong, or the configuration or a rule is.

    """
    import torch

    from normadvisor.api.selection import load_selected
    from normadvisor.suppress import apply_per_file_ignores

    if not isinstance(model, torch.nn.Module):  # a caller without a type checker may pass anything
        message = f"a value of type {type(model).__name__} cannot be measured"
        raise UsageError(message, hint="pass a torch.nn.Module, or targets as text")
    _check_given(given)
    settings = settings or load_settings(Path.cwd())
    _, rules = load_selected(settings)
    options = _options(model, settings, wanted)
    name = type(model).__name__
    work = _Work(model, name, settings, rules, given, input_texts(inputs), options, wanted)
    result = work.result(lambda part: progress and progress(Progress(done=0, total=1, target=name, phase="probing", part=part)))
    counted = {rule.id for rule in rules if static_rules or rule.scope == "probe"}
    findings = tuple(finding for finding in result.findings if finding.rule in counted)
    findings = apply_per_file_ignores(findings, settings.per_file_ignores, root=settings.root)
    outcome = Outcome(
        summary=result.summary, findings=findings, notes=result.notes, inferred=result.inferred, problems=result.problems,
        measurements=result.measurements, withdrawn=result.withdrawn,
    )  # fmt: skip
    report = replace(report_of([outcome]), probed=True)
    return Checked(report=report, settings=settings, rules={rule.id: rule for rule in rules})


def _check_given(given: LiveBatches) -> None:
    import torch

    if given.batch is not None and given.batches is not None:
        raise UsageError("batch and data are two ways to say the same", hint="pass one of them")
    if given.loss_fn is not None and not callable(given.loss_fn):
        message = f"loss_fn is a value of type {type(given.loss_fn).__name__}"
        raise UsageError(message, hint="pass a function or a module: loss(output, target)")
    if given.optimizer is not None and not isinstance(given.optimizer, torch.optim.Optimizer):
        raise UsageError(f"optimizer is a value of type {type(given.optimizer).__name__}", hint="pass a torch.optim.Optimizer, or a name")


def _options(model: torch.nn.Module, settings: Settings, wanted: Asked) -> ProbeOptions:
    """How to measure a model that stays on its device.

    Raises:
        UsageError: another device is asked for.

    """
    from normadvisor.api.measure import resolve_device

    said = {key: value for key, value in settings.probe.items() if key not in {"data", "loss", "device"}}
    options = ProbeOptions(**{"budget": DEFAULT_BUDGET, **said, **wanted.probing})
    device = resolve_device(options.device, "device")
    held = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if device is not None and any((other.type, other.index or 0) != (device.type, device.index or 0) for other in held):
        where = ", ".join(sorted(map(str, held)))
        raise UsageError(f"the model is on {where}, not on {options.device}", hint=f"move it there first: model.to('{options.device}')")
    if any(other.type == "meta" for other in held):
        raise UsageError("weights of the model are on the meta device, where they have no values", hint="build it in real memory")
    return options


@dataclass(frozen=True, slots=True)
class _Work:
    model: torch.nn.Module
    name: str
    settings: Settings
    rules: list[Rule]
    given: LiveBatches
    inputs: tuple[str, ...]
    options: ProbeOptions
    wanted: Asked

    def result(self, told: Callable[[str], object]) -> Examined:
        """What comes of the model, measured if it can be."""
        from normadvisor.api.examine import failed, problem_of
        from normadvisor.api.measure import Subject, measure
        from normadvisor.targets.sites import site_of_code

        context = self.settings.context.merged(self.wanted.context)
        try:
            examined, known = self._examined()
        except NormAdvisorError as error:
            return failed(self.name, problem_of(error, self.name))
        given = self.given
        batches = given.batches if given.batch is None else [given.batch]
        subject = Subject(
            model=self.model, target=self.name, context=context, root=self.settings.root, graph=None if known is None else known.graph,
            inputs=None if known is None or known.inputs is None else known.inputs.on("cpu"), batches=batches, loss_fn=given.loss_fn,
            optimizer=given.optimizer, defined_at=site_of_code(type(self.model)),
        )  # fmt: skip

        def part(what: str, done: int, total: int) -> None:
            told(f"{what} {done} of {total}" if total else what)

        from normadvisor.probe.distributed import live_ranks

        try:
            with live_ranks(self.model) as ranks:
                found = measure(replace(subject, ranks=ranks), self.options, self.rules, static=examined.findings, told=part)
        except Exception as error:  # noqa: BLE001 - the model's code may raise anything
            return replace(examined, problems=(*examined.problems, problem_of(error, self.name)))
        return replace(examined, findings=found.findings, measurements=found.measurements, withdrawn=found.withdrawn)

    def _first_inputs(self) -> Inputs | None:
        """What goes to the model from the first batch, where reading it takes nothing away from the others."""
        from normadvisor.api.batch_inputs import inputs_of

        batches = self.given.batches
        from normadvisor.probe.distributed.live import replica

        model = replica(self.model)
        if self.given.batch is not None:
            return inputs_of(self.given.batch, model)
        if batches is None or isinstance(batches, Iterator):
            return None
        for batch in batches:
            return inputs_of(batch, model)
        return None

    def _examined(self) -> tuple[Examined, Traced | None]:
        """What comes of it without running it, and its trace."""
        from normadvisor.api.examine import examine, traced, untraced
        from normadvisor.errors import TargetError
        from normadvisor.probe.distributed.live import refuse_sharded, replica
        from normadvisor.targets.sites import site_of_code

        model = replica(self.model)
        defined = site_of_code(type(model))
        context = self.settings.context.merged(self.wanted.context)
        try:
            refuse_sharded(model)
            known = traced(
                model, target=self.name, inputs=self.inputs, context=context, defined_at=defined, batch=self._first_inputs()
            )  # fmt: skip
        except TargetError as error:
            if self.given.batch is None and self.given.batches is None:
                raise
            return untraced(self.name, error), None
        result = examine(
            model, self.rules, target=self.name, inputs=self.inputs, context=context, root=self.settings.root, defined_at=defined,
            known=known,
        )  # fmt: skip
        return result, known
