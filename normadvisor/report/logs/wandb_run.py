"""A run of Weights & Biases.

Every number is named ``normadvisor/...`` and plotted over ``normadvisor/step``. In a run that the user opened, nothing but the user's own
``log`` calls moves the run's step on: the numbers wait for the next of them. Otherwise calls of the user that name their step would be
dropped, because the run would already be further on.
"""

from __future__ import annotations

import wandb

from normadvisor.errors import UsageError
from normadvisor.report.logs.names import curves_of, said
from normadvisor.report.logs.step import StepNumbers

__all__ = ["WandbRun"]

_STEP = "normadvisor/step"


class WandbRun:
    """The run that is open in this process, or a new one.

    Args:
        project: of a new run; empty for the one that is configured.

    Raises:
        UsageError: no run can be opened.

    """

    def __init__(self, project: str) -> None:
        self._own = wandb.run is None
        try:
            self._run = wandb.run or wandb.init(project=project or None, job_type="normadvisor")
        except (wandb.Error, OSError) as error:
            hint = "run wandb login, or set WANDB_MODE=offline"
            raise UsageError(f"Weights & Biases cannot open a run: {error}", hint=hint) from error
        self._run.define_metric(_STEP, hidden=True)
        self._run.define_metric("normadvisor/*", step_metric=_STEP)

    def write(self, numbers: StepNumbers) -> None:
        """Log the numbers; each finding becomes an entry of the run's summary, by rule and layers."""
        prefix = f"normadvisor/{numbers.model}/" if numbers.model else "normadvisor/"
        values: dict[str, float] = {prefix + name: value for name, value in curves_of(numbers)}
        if values:
            self._run.log({**values, _STEP: numbers.step}, commit=self._own)
        for finding in numbers.findings:
            layers = ",".join(finding.modules)
            self._run.summary[f"{prefix}findings/{finding.rule} {layers}".rstrip()] = f"step {numbers.step}: {said(finding)}"

    def close(self) -> None:
        """End the run if it was opened here."""
        if self._own:
            self._run.finish()
