"""What was recorded of a training, as a log and rules read it: loss scale undone, and no numbers of layers that a step was not about."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from normadvisor.integrations.steps import RecordedStep
from normadvisor.report.logs import StepNumbers
from normadvisor.types import JSONValue, LayerMeasurements, Measurements, Series

if TYPE_CHECKING:
    import torch

    from normadvisor.probe.recording.recorder import Recorder

__all__ = ["HISTORY", "Collection", "own_layers"]

HISTORY: Final = 128
"""Recorded steps that are kept for rules and reports; logs get all of them."""

SCALED: Final = frozenset({"grad_norm", "grad_rms", "weight_grad_norm", "bias_grad_norm", "act_grad_norm", "act_grad_rms"})
"""Numbers of gradients that grow with the loss."""
_OF_PARAMETERS: Final = SCALED - {"act_grad_norm", "act_grad_rms"} | {"grad_nonfinite"}
"""Numbers of gradients of parameters: those that a step of another optimizer leaves behind mean nothing."""
_LARGE: Final = 0.1
"""An update of this share of the weights is large at any time of a training."""
_ALIKE: Final = 10
"""Factor between the highest and a typical rate up to which they count as alike."""
_FEWEST: Final = 3
"""Steps by which a rate that does not rise is told from one that is about to."""
_WHOLE_RUN: Final = "\0"
"""No layer has this name."""
_WRAPPERS: Final = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})


@dataclass(frozen=True, slots=True)
class _Kept:
    """A step, and what of its record does not count."""

    number: int
    scale: float
    known: bool
    """Whether the scale is: else numbers that it is on do not count."""
    updated: bool
    others: frozenset[str]
    """Layers of other optimizers."""
    not_updated: frozenset[str]
    """Layers whose parameters this step could not change."""
    loss: float | None
    seconds: float
    rate: float | None
    """Learning rate."""

    def number_of(self, layer: str, key: str, value: float | None) -> float | None:
        """A recorded number as it counts."""
        if value is None or (key in _OF_PARAMETERS and layer in self.others):
            return None
        if key == "update_ratio" and (not self.updated or layer in self.not_updated):
            return None
        if key in SCALED:
            return value / self.scale if self.known else None
        return value


class Collection:
    """The last :data:`HISTORY` recorded steps of a model.

    Args:
        model: the one that is recorded.
        recorder: keeps as many steps.
        optimizers: those whose steps matter; empty: any that holds parameters of the model.

    """

    def __init__(self, model: torch.nn.Module, recorder: Recorder, optimizers: Sequence[torch.optim.Optimizer] = ()) -> None:
        self._model = model
        self._recorder = recorder
        self._steps: deque[_Kept] = deque(maxlen=HISTORY)
        self._optimizers = optimizers
        self.count = 0
        """Steps recorded in all."""
        self.first_loss: float | None = None
        """Loss of step 0, if it was told."""

    def add(self, step: RecordedStep, *, loss: float | None, number: int) -> StepNumbers:
        """Take over what the recorder has of the step that just ended.

        Args:
            step: as noticed.
            loss: the loss whose gradients were recorded, loss scale undone.
            number: under which it is logged.

        """
        kept = self._kept(step, loss, number)
        self._steps.append(kept)
        self.count += 1
        if step.number == 0:
            self.first_loss = loss
        layers = {
            name: {key: value for key, given in values.items() if (value := kept.number_of(name, key, given)) is not None}
            for name, values in self._recorder.last().items()
        }
        run = self._of_run(kept, {key: values[-1] for key, values in self._recorder.series().items() if values}, layers)
        return StepNumbers(step=number, run={key: value for key, value in run.items() if value is not None}, layers=layers)

    def measurements(self, target: str, setup: Mapping[str, JSONValue], notes: tuple[str, ...]) -> Measurements:
        """Everything that is kept, as of a probe on the user's own batches."""
        steps = list(self._steps)
        layers = tuple(self._layer(layer, steps) for layer in self._recorder.layers())
        series = self._series(steps, layers)
        facts: dict[str, JSONValue] = {"real_data": True, "own_optimizer": self._settled(series.get("update_ratio", ()))}
        if self.first_loss is not None:
            facts["initial_loss"] = self.first_loss
        bad = next((index for index in range(len(steps)) if _nonfinite(index, layers, series)), None)
        if bad is not None:
            facts["nonfinite_step"] = steps[bad].number
            facts["nonfinite_layer"] = next((layer.name for layer in layers if _at(layer.series, "nonfinite", bad)), None)
        return Measurements(target=target, layers=layers, series=series, facts=facts, setup=setup, notes=(*notes, *self._recorder.notes))

    def _settled(self, update_ratios: Series) -> bool:
        """Whether the size of updates tells of the learning rate.

        Small ones only do once the rate has stopped to rise, as in a warm-up, and if most steps had about the highest.
        """
        if update_ratios and (update_ratios[-1] or 0.0) > _LARGE:
            return True
        rates = [step.rate for step in self._steps if step.rate is not None]
        return len(rates) >= _FEWEST and rates[-1] <= max(rates[:-1]) <= _ALIKE * median(rates)

    @property
    def rate(self) -> float | None:
        """The learning rate of a typical step."""
        rates = [step.rate for step in self._steps if step.rate is not None]
        return median(rates) if rates else None

    @property
    def numbers(self) -> list[int]:
        """Of the steps that are kept."""
        return [step.number for step in self._steps]

    def _kept(self, step: RecordedStep, loss: float | None, number: int) -> _Kept:
        others: frozenset[str] = frozenset()
        untouched: frozenset[str] = frozenset()
        if step.optimizer is not None:
            held = own_layers(self._model, step.optimizer)
            untouched = others = own_layers(self._model, None) - held
            if self._optimizers:  # what none of them holds has gradients of its own right
                others = frozenset[str]().union(*(own_layers(self._model, one) for one in self._optimizers)) - held
        known = step.scale is not None or not any(values.get("grad_nonfinite") for values in self._recorder.last().values())
        return _Kept(number, step.scale or 1.0, known, step.updated, others, untouched, loss, step.seconds, rate_of(step.optimizer))

    def _layer(self, layer: LayerMeasurements, steps: list[_Kept]) -> LayerMeasurements:
        series = {
            key: tuple(step.number_of(layer.name, key, value) for step, value in zip(steps, values, strict=True))
            for key, values in layer.series.items()
        }
        return replace(layer, series={key: values for key, values in series.items() if any(value is not None for value in values)})

    def _series(self, steps: list[_Kept], layers: tuple[LayerMeasurements, ...]) -> dict[str, Series]:
        recorded = self._recorder.series()
        rows = [
            self._of_run(
                step,
                {key: values[index] for key, values in recorded.items()},
                {layer.name: {"grad_norm": _at(layer.series, "grad_norm", index)} for layer in layers},
            )
            for index, step in enumerate(steps)
        ]
        keys = dict.fromkeys(key for row in rows for key, value in row.items() if value is not None)
        return {key: tuple(row.get(key) for row in rows) for key in keys}

    @staticmethod
    def _of_run(
        step: _Kept, recorded: Mapping[str, float | None], layers: Mapping[str, Mapping[str, float | None]]
    ) -> dict[str, float | None]:
        """Numbers of the run in one step; of several optimizers' layers those of this step's optimizer count."""
        row: dict[str, float | None] = {"loss": step.loss, "seconds": step.seconds}
        row |= {key: step.number_of(_WHOLE_RUN, key, recorded.get(key)) for key in ("grad_norm", "update_ratio")}
        if step.others:
            norms = [norm for values in layers.values() if (norm := values.get("grad_norm")) is not None]
            row |= {"grad_norm": math.sqrt(math.fsum(norm * norm for norm in norms)), "update_ratio": None}
        row["loss_scale"] = step.scale if step.known and step.scale != 1.0 else None
        return row


def rate_of(optimizer: Any) -> float | None:
    """The largest learning rate of its groups."""
    rates = [float(group["lr"]) for group in optimizer.param_groups if "lr" in group] if optimizer is not None else []
    return max(rates, default=None)


def own_layers(model: torch.nn.Module, optimizer: Any) -> frozenset[str]:
    """Names of the layers that hold a parameter of ``optimizer``, or any parameter where that is ``None``."""
    held = None if optimizer is None else {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    names = (name for name, parameter in model.named_parameters(remove_duplicate=False) if held is None or id(parameter) in held)
    return frozenset(_layer_name(name) for name in names)


def _layer_name(parameter: str) -> str:
    """``module.encoder.conv.parametrizations.weight.original`` belongs to ``encoder.conv``."""
    parts = parameter.split(".")[:-1]
    if "parametrizations" in parts:
        parts = parts[: parts.index("parametrizations")]
    return ".".join(part for part in parts if part not in _WRAPPERS)


def _at(series: Mapping[str, Series], key: str, index: int) -> float | None:
    values = series.get(key)
    return values[index] if values else None


def _nonfinite(index: int, layers: tuple[LayerMeasurements, ...], series: Mapping[str, Series]) -> bool:
    loss = _at(series, "loss", index)
    if loss is not None and not math.isfinite(loss):
        return True
    return any(_at(layer.series, key, index) for layer in layers for key in ("nonfinite", "grad_nonfinite"))
