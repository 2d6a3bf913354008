"""A callback for Lightning's ``Trainer``.

    trainer = lightning.Trainer(callbacks=[NormAdvisorCallback(every=100)], gradient_clip_val=1.0)
    trainer.fit(model)

The numbers go to the trainer's own loggers, and anywhere else that ``log`` names. Automatic and manual optimization are understood, as are
gradient accumulation and mixed precision; gradients are those before clipping.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from normadvisor.config import Settings
from normadvisor.errors import UsageError
from normadvisor.integrations.callback import WatchingCallback
from normadvisor.integrations.logs import Sink
from normadvisor.report.logs import StepNumbers
from normadvisor.report.logs.names import curves_of

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as missing:
        raise UsageError("the callback for Lightning needs the package lightning", hint="pip install lightning") from missing

__all__ = ["NormAdvisorCallback"]


class NormAdvisorCallback(WatchingCallback, Callback):  # type: ignore[misc] # Lightning is not read by the type checker
    """Measure one of ``every`` training steps.

    Args:
        every: the first step is measured, and then one of so many; with several optimizers each is counted for itself.
        log: ``trainer`` for the trainer's loggers, or what :func:`normadvisor.watch` takes; several in a list; ``None`` for none.
        rules: whether rules look at the numbers; what they find is told to the logger ``normadvisor``.
        stop_on: ``warning`` or ``error``: end the training where rules find something so grave.
        settings: which rules; the nearest configuration above the working directory when ``None``.

    Raises:
        UsageError: an argument is wrong.

    """

    def __init__(
        self,
        *,
        every: int = 100,
        log: str | Sink | Sequence[str | Sink] | None = "trainer",
        rules: bool = True,
        stop_on: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        several = [] if log is None else [log] if isinstance(log, str) or callable(log) else list(log)
        others = [one for one in several if one != "trainer"]
        super().__init__(every=every, log=others, rules=rules, stop_on=stop_on, settings=settings, begin="trainer.fit")
        self._to_trainer = "trainer" in several
        self._trainer: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch."""
        self._trainer = trainer
        self._enter(pl_module, log=[self._take], first_step=int(trainer.global_step), scaler=_scaler(trainer))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:  # noqa: ARG002 - Lightning's signature
        """Take the loss, the scale of mixed precision on it."""
        if self._active and self._watching is not None:
            self._watching.loss(loss, scaled=_scaler(trainer) is not None)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 - Lightning's signature
        """Leave out what validation does."""
        if self._active and self._watching is not None:
            self._watching.pause()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 - Lightning's signature
        """Go on."""
        if self._active and self._watching is not None:
            self._watching.resume()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 - Lightning's signature
        """Take off every hook."""
        self._leave(None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002 - Lightning's signature
        """Take off every hook."""
        self._leave(exception)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Take off every hook, however the training ended."""
        self._leave(None)
        self._trainer = None

    def _take(self, numbers: StepNumbers) -> None:
        trainer = self._trainer
        if self._to_trainer:
            curves = dict(curves_of(numbers))
            step = numbers.step
            with suppress(AttributeError):  # the step that the trainer's own curves have; its callbacks read it there too
                step = trainer.fit_loop.epoch_loop._batches_that_stepped  # noqa: SLF001
            for logger in trainer.loggers:
                logger.log_metrics(curves, step=step)
        if self._too_grave(numbers):
            trainer.should_stop = True


def _scaler(trainer: Any) -> Any:
    """The gradient scaler of mixed precision, if there is one."""
    return getattr(getattr(trainer, "precision_plugin", None), "scaler", None)
