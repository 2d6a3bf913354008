"""Watch a model while it is trained by a loop of one's own.

    with normadvisor.watch(model, every=100, log="tensorboard:runs/first") as watching:
        for images, labels in loader:
            loss = loss_fn(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    print(watching.report())

One step of a hundred is measured; on the others nothing but the optimizer's step is noticed. Nothing of the training changes: neither
weights nor gradients nor random numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import torch
from torch.optim.optimizer import Optimizer

from normadvisor.api.shown import ProbeResult
from normadvisor.config import Settings
from normadvisor.errors import NormAdvisorError, UsageError
from normadvisor.integrations.collect import HISTORY, Collection
from normadvisor.integrations.judging import Judge
from normadvisor.integrations.logs import Logs, Sink
from normadvisor.integrations.sharded import adder, is_sharded, processes
from normadvisor.integrations.steps import RecordedStep, Steps
from normadvisor.probe.recording.recorder import Recorder
from normadvisor.probe.running.surroundings import observed
from normadvisor.types import Finding, JSONValue, Measurements, Report

__all__ = ["Watch", "watch"]

LOGGER: Final = logging.getLogger("normadvisor")

Optimizers: TypeAlias = Optimizer | Sequence[Optimizer] | None


def watch(
    model: torch.nn.Module,
    *,
    every: int = 100,
    optimizer: Any = None,
    log: str | Sink | Sequence[str | Sink] | None = None,
    rules: bool = True,
    scaler: Any = None,
    first_step: int = 0,
    settings: Settings | None = None,
) -> Watch:
    """Measure one of ``every`` training steps, log the numbers, and let rules speak of them.

    Gradients are those of the whole step, before they are clipped, with the loss scale of mixed precision taken off. A step ends with that
    of an optimizer that holds parameters of the model; of several optimizers each is counted for itself.

    Args:
        model: what is trained; wrappers for data-parallel training and ``torch.compile`` are seen through.
        every: the first step is measured, and then one of so many.
        optimizer: one or several, where not every optimizer that holds parameters of the model matters; by default none need be named.
        log: ``csv:FILE``, ``tensorboard:DIR``, ``wandb`` or ``wandb:PROJECT``, a function that is called with
            :class:`normadvisor.report.logs.StepNumbers`, or several of them.
        rules: whether rules look at the numbers. What they find is told to the logger ``normadvisor`` once, when it is found.
        scaler: the ``GradScaler``; found by itself once it has stepped an optimizer.
        first_step: number of the first step, of a training that goes on.
        settings: which rules; the nearest configuration above the working directory when ``None``.

    Returns:
        A context manager; iterated over, it gives the findings.

    Raises:
        UsageError: an argument is wrong, a log cannot be written, or a package that it needs is missing.
        NormAdvisorError: the configuration or a rule is wrong.

    """
    _check(model)
    if every < 1:
        raise UsageError(f"every is {every!r}", hint="pass how many steps there are from one that is measured to the next, at least 1")
    return Watch(
        model, every=every, optimizers=_optimizers(optimizer), logs=Logs(log), judge=Judge(model, settings) if rules else None,
        scaler=scaler, first_step=first_step,
    )  # fmt: skip


class Watch:
    """A model that is being watched. Made by :func:`watch`; may be entered again after it was left, and then goes on."""

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        every: int,
        optimizers: Sequence[Optimizer],
        logs: Logs,
        judge: Judge | None,
        scaler: Any,
        first_step: int,
    ) -> None:
        self._model = model
        self._every = every
        self._logs = logs
        self._judge = judge
        self._first_step = first_step
        sharded = is_sharded(model)
        self._recorder = Recorder(model, history=HISTORY, combine=adder(model) if sharded else None)
        self._collection = Collection(model, self._recorder, optimizers)
        self._steps = Steps(
            model, self._recorder, every=every, optimizers=optimizers, scaler=scaler, sharded=sharded, recorded=self._recorded,
            dropped=self._dropped,
        )  # fmt: skip
        self._setup: dict[str, JSONValue] = {}
        self._losses: list[tuple[Any, bool]] = []
        self._findings: tuple[Finding, ...] | None = ()
        self._active = False
        self._quiet = False
        self._probes = ExitStack()

    def __enter__(self) -> Self:
        if self._active:
            raise UsageError("the model is being watched by this already", hint="call normadvisor.watch again to watch it twice")
        self._quiet = processes()[0] != 0  # of processes that train together the first one speaks for all
        if not self._quiet:
            self._logs.open()
        self._active = True
        self._probes.enter_context(observed(self._model, self.pause, self.resume))
        try:
            self._steps.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._active:
            self._active = False
            self._probes.close()
            try:
                self._steps.stop(finish=kind is None)
            finally:
                self._logs.close()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What rules say of the steps measured so far, and what was told of earlier ones that does not show in these any more."""
        if self._findings is None:
            self._findings = () if self._judge is None else self._judge.findings(self._measurements())
        return self._findings if self._judge is None else self._judge.with_told(self._findings)

    def report(self) -> ProbeResult:
        """The numbers and what rules say of them; printed, as a table, or as a page with ``report().html("page.html")``."""
        measurements = self._measurements()
        settings, rules = (Settings(), {}) if self._judge is None else (self._judge.settings, self._judge.rules)
        return ProbeResult(report=Report(findings=self.findings, measurements=(measurements,), probed=True), settings=settings, rules=rules)

    def loss(self, value: Any, *, scaled: bool = False) -> None:
        """Tell the loss that is about to be differentiated, so that it is logged beside the gradients.

        Losses told within one step add up, as their gradients do. Costs nothing on steps that are not measured.

        Args:
            value: a tensor of one element or a number.
            scaled: whether it is multiplied with the scale of mixed precision already.

        """
        if self._steps.recording:
            self._losses.append((value.detach() if isinstance(value, torch.Tensor) else value, scaled))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens in the block: passes of the model and steps of optimizers that are no part of its training."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def pause(self) -> None:
        """Leave out what happens until :meth:`resume`."""
        self._steps.pause()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._steps.resume()

    def _measurements(self) -> Measurements:
        _, world_size = processes()
        notes = [_when(self._collection.numbers, self._collection.count)]
        if world_size > 1:
            notes.append(f"activations and losses are those of the batches of the first of {world_size} processes")
        setup = {
            **self._setup, "lr": self._collection.rate, "steps": len(self._collection.numbers), "every": self._every, "data": "training",
            "world_size": world_size, "torch": torch.__version__,
        }  # fmt: skip
        model = getattr(self._model, "_orig_mod", self._model)
        return self._collection.measurements(type(model).__name__, setup, tuple(notes))

    def _recorded(self, step: RecordedStep) -> None:
        losses, self._losses = self._losses, []
        numbers = self._collection.add(step, loss=_sum(losses, step.scale), number=self._first_step + step.number)
        self._setup = _setup(self._model, step.optimizer) or self._setup
        self._findings = None
        if self._quiet:
            return
        news = self._news()
        self._logs.write(numbers, news)
        for finding in news:
            LOGGER.warning("step %d: %s %s: %s", numbers.step, finding.rule, finding.name, finding.message)

    def _dropped(self) -> None:
        self._losses.clear()

    def _news(self) -> tuple[Finding, ...]:
        if self._judge is None:
            return ()
        try:
            return self._judge.news(self.findings)
        except NormAdvisorError as error:  # a training is not ended because a rule of the user's cannot be computed
            LOGGER.warning("rules are left out from here on: %s", error)
            self._judge, self._findings = None, ()
            return ()


def _when(numbers: Sequence[int], count: int) -> str:
    """Which steps were measured."""
    if not numbers:
        return "no step was seen while the model was watched"
    listed = ", ".join(map(str, numbers)) if len(numbers) <= 6 else f"{numbers[0]}, {numbers[1]}, ... {numbers[-1]}"
    shown = f"{len(numbers)} of {count} measured steps are shown: " if len(numbers) < count else ""
    return f"{shown}measured while training, at steps {listed}"


def _check(model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        message = f"a value of type {type(model).__name__} cannot be watched"
        raise UsageError(message, hint="pass a torch.nn.Module")


def _optimizers(given: Any) -> list[Optimizer]:
    """The optimizers of torch that are meant, out of their wrappers.

    Raises:
        UsageError: something that is no optimizer.

    """
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, Optimizer) else [] if given is None else [given]
    return [_bare(one) for one in several]


def _bare(optimizer: Any) -> Optimizer:
    for attribute in ("optimizer", "_optimizer"):  # accelerate's and Lightning's wrappers
        inner = getattr(optimizer, attribute, None)
        if isinstance(inner, Optimizer):
            return _bare(inner)
    if not isinstance(optimizer, Optimizer):
        message = f"a value of type {type(optimizer).__name__} is no optimizer"
        raise UsageError(message, hint="pass a torch.optim.Optimizer, several, or none")
    return optimizer


def _sum(losses: Sequence[tuple[Any, bool]], scale: float | None) -> float | None:
    if not losses or (scale is None and any(scaled for _, scaled in losses)):
        return None
    return sum(float(value) / (scale or 1.0) if scaled else float(value) for value, scaled in losses)


def _setup(model: torch.nn.Module, optimizer: Optimizer | None) -> dict[str, JSONValue]:
    device = next((str(parameter.device) for parameter in model.parameters()), "cpu")
    if optimizer is None:
        return {"device": device}
    return {"device": device, "optimizer": type(optimizer).__name__}
