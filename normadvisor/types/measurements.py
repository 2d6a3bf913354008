"""What a probe measured on one model: plain numbers per layer and step, as stored and as read by rules and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeAlias

from normadvisor.types.finding import Finding, JSONValue
from normadvisor.types.location import Location

__all__ = [
    "CURVES", "DOES_NOT_APPLY", "LAYER_FACTS", "LAYER_SERIES", "NO_BATCH_STATISTICS", "NO_RUNNING_STATISTICS", "RUN_FACTS", "RUN_SERIES",
    "LayerMeasurements", "Measurements", "Series", "Withdrawn",
]  # fmt: skip

Series: TypeAlias = tuple[float | None, ...]
"""One number per step, ``None`` where nothing was measured. Numbers may be infinite or not a number."""

NO_RUNNING_STATISTICS = "no layer keeps running statistics"
NO_BATCH_STATISTICS = "no layer normalizes with the statistics of the batch"
DOES_NOT_APPLY = frozenset({NO_RUNNING_STATISTICS, NO_BATCH_STATISTICS})
"""Reasons why something was not measured that say that the model has none of it; reports leave them out."""

LAYER_SERIES: dict[str, str] = {
    "grad_norm": "L2 norm of the gradient of the layer's own parameters, loss scale undone, before clipping",
    "grad_rms": "root mean square of that gradient",
    "weight_grad_norm": "L2 norm of the gradient of the layer's parameters of two or more axes: weights without biases and scales",
    "act_grad_norm": "L2 norm of the gradient of the loss with respect to the layer's output",
    "act_grad_rms": "root mean square of that gradient",
    "weight_norm": "L2 norm of the layer's own parameters before the step",
    "update_ratio": "norm of the step's change of the layer's parameters over their norm",
    "act_mean": "mean of the layer's output",
    "act_std": "standard deviation of the layer's output",
    "sample_std": "normalizations: RMS over values of the standard deviation of the layer's output over the samples of the batch",
    "act_abs_max": "largest magnitude of the layer's output",
    "dead_share": "share of units whose output is zero (or, of a bounded activation, its bound) for the whole batch",
    "zero_share": "share of output values that are exactly zero",
    "saturated_share": "share of output values in the flat part of a saturating activation",
    "nonfinite": "output values that are infinite or not a number",
    "grad_nonfinite": "parameter gradient values that are infinite or not a number",
    "call_growth": "standard deviation of the layer's last output in a pass over that of its middle one, where it runs 6 times or more",
    "bn_mean_gap": "BatchNorm: distance of the batch's mean from the running mean in running standard deviations, RMS over channels",
    "bn_var_gap": "BatchNorm: natural logarithm of the batch's variance over the running variance, RMS over channels",
}
"""What is measured of a layer in each step, with its meaning."""

LAYER_FACTS: dict[str, str] = {
    "dead_share": "share of units that were dead in every step",
    "no_gradient": "trainable parameters got no gradient, or one of zeros, in every step",
    "frozen": "no parameter is trainable",
    "bn_noise": "BatchNorm: how far a sample's output moves with the rest of its batch, RMS over values, in standard deviations",
    "bn_mean_noise": "BatchNorm: standard deviation of the batch mean between batches, in standard deviations, RMS over channels",
    "bn_var_noise": "BatchNorm: relative standard deviation of the batch variance between batches, RMS over channels",
    "bn_gap": "BatchNorm: relative RMS difference of its output with batch statistics and with settled running ones, on the same input",
    "bn_excess": "BatchNorm: bn_gap in multiples of what the noise of batch statistics explains; far above 1, eval computes something else",
    "bn_tracks": "BatchNorm: the running statistics moved towards the batch's",
    "bn_momentum": "BatchNorm: share of the way to the batch's statistics that the running ones go in a pass",
    "bn_uses": "BatchNorm: `batch` or `running`: the statistics that it normalizes with in train mode",
    "bn_rank_gap": "BatchNorm: distance of the batch means of different ranks, in standard deviations, RMS over channels",
    "bn_rank_shift": "BatchNorm: part of it that stays from step to step, as standard deviation between ranks: their data differ",
    "bn_sync": "BatchNorm: its statistics are those of all ranks together",
    "noise_scale": "gradient noise scale of the layer in samples (McCandlish et al., 2018)",
    "train_eval_gap": "relative RMS difference of the layer's output between train and eval mode on the same batch",
    "activation": "function without a module that is applied to its output: dead, zero and saturated shares are those of its result",
    "tied": "name of the layer that its parameters are counted with",
    "bias_grad_ratio": "L2 norm of the bias' gradient over that of the weight's, largest over the steps",
    "norm_gap": "the same with BatchNorm alone in train mode, statistics settled in that mode",
    "code_gap": "relative RMS difference of its output in train and eval mode with norms and dropout layers in eval mode both times",
    "alike_share": "share of units that gave what another unit gave, on all samples of every step: copies of one another",
    "eval_repeat_gap": "relative RMS difference of the layer's output in two eval passes on the same batch",
    "eval_batch_gap": "relative RMS difference of the layer's eval output for a sample beside other samples, as many of them",
}
"""What is measured of a layer once, with its meaning."""

RUN_SERIES: dict[str, str] = {
    "loss": "loss of the step, before its update",
    "grad_norm": "L2 norm of the gradient of all parameters, loss scale undone, before clipping",
    "update_ratio": "norm of the step's change of all parameters over their norm",
    "loss_scale": "factor of the loss in mixed precision",
    "seconds": "duration of the step",
}
"""What is measured of the run in each step, with its meaning."""

RUN_FACTS: dict[str, str] = {
    "initial_loss": "loss of the first step",
    "expected_initial_loss": "loss of a model that knows nothing: log K for K classes",
    "classes": "number of classes that the loss tells apart",
    "train_eval_similarity": "cosine similarity of train and eval outputs on the same batch, after the running statistics settled",
    "train_eval_gap": "relative RMS difference of these outputs",
    "train_eval_bias": "relative RMS distance of the mean of several train outputs from the eval output, the mean's own noise subtracted",
    "code_gap": "relative RMS difference of train and eval outputs, norms and dropout layers in eval mode both times: the model's own code",
    "drop_scale": "mean of what dropout by hand gives in train mode over its eval output, where that is farthest from 1",
    "drop_modules": "names of modules with that dropout; empty name for the model's own code",
    "train_repeat_gap": "relative RMS difference of two train passes on the same batch: dropout, stochastic depth",
    "norm_gap": "relative RMS difference of outputs with BatchNorm alone in train mode and in eval mode, statistics settled in that mode",
    "norm_noise": "relative RMS movement of a sample's output with the rest of its batch, BatchNorm alone in train mode",
    "checkpoint_gap": "as norm_gap, with the running statistics as they were found; real data and statistics that are not new",
    "bn_fresh": "all running statistics are those of new layers: mean 0, variance 1",
    "train_in_eval": "names of dropout layers and norms that stay in train mode after model.eval()",
    "eval_in_train": "names of dropout layers and norms that stay in eval mode after model.train()",
    "eval_repeat_gap": "relative RMS difference of two eval passes on the same batch: randomness that eval mode does not switch off",
    "eval_dropout": "names of modules that drop values in eval mode: dropout that is always on; empty name for the model's own code",
    "eval_sampling": "names of modules that draw other random numbers in eval mode, such as latent codes, noise or masks",
    "eval_batch_gap": "relative RMS difference of a sample's eval output beside other samples, as many of them",
    "noise_scale": "gradient noise scale in samples (McCandlish et al., 2018): batches much smaller than it give noisy steps",
    "overfit_first": "loss of one batch before training on it",
    "overfit_last": "loss of that batch after training on it",
    "overfit_floor": "smallest loss that this batch admits, 0 where nothing is known",
    "overfit_iterations": "iterations of that training",
    "overfit_lr": "its learning rate",
    "nonfinite_step": "first step whose loss or gradient was not finite",
    "nonfinite_layer": "first layer in order of execution whose output was not finite in that step",
    "nonfinite_op": "function that made the first value that is not finite in that step, or that gradient if the loss is finite",
    "nonfinite_line": "path:line of the call of that function in the model's own code",
    "nonfinite_input": "the batch of that step held values that are not finite",
    "differentiable": "the loss depends on a trainable parameter",
    "unregistered": "attributes with parameters that the loss depends on and the model does not know: in a plain list, tuple or dictionary",
    "unregistered_line": "path:line that sets the first of them",
    "attention_peak": "share of rows of attention with 8 entries or more whose largest weight is above 0.999, largest of all modules",
    "peaked_attention": "names of the modules where that share is above one half",
    "peaked_line": "path:line of the softmax in the first of them",
    "real_data": "batches came from the user",
    "own_optimizer": "the optimizer or the learning rate came from the user",
    "batch_given": "the batch size was said by the user, or is that of their batches",
    "rank_gradient_gap": "largest relative difference between ranks of a layer's gradient norm that should be the same on all",
    "rank_weight_gap": "largest relative difference between ranks of a layer's weight norm that should be the same on all",
    "restored": "everything was left as it was found, compared bit by bit",
    "peak_memory": "MiB at the peak",
}
"""What is measured of the run once, with its meaning."""

CURVES: dict[str, str] = {"overfit": "loss of one batch while training on it, by iteration"}
"""Series of the run that do not count its steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMeasurements:
    """One layer: a module that holds parameters itself, normalizes, or is an activation."""

    name: str
    """Qualified name of the module; empty for the model itself."""
    cls: str
    op: str | None = None
    """Canonical operation, as in :data:`normadvisor.types.OPS`."""
    order: int = 0
    """Position in order of first execution, from 0; layers that never ran stand behind the others."""
    calls: int = 1
    """Runs per forward pass; the numbers of several runs are joined as of one larger output. 0 where it never ran."""
    parameters: int = 0
    trainable: int = 0
    units: int | None = None
    """Channels or features of its output."""
    location: Location | None = None
    """Where it is constructed."""
    series: Mapping[str, Series] = field(default_factory=dict)
    """By key of :data:`LAYER_SERIES`; what was not measured is missing."""
    facts: Mapping[str, JSONValue] = field(default_factory=dict)
    """By key of :data:`LAYER_FACTS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """One probed model."""

    target: str
    layers: tuple[LayerMeasurements, ...] = ()
    """In order of first execution."""
    series: Mapping[str, Series] = field(default_factory=dict)
    """By key of :data:`RUN_SERIES`."""
    curves: Mapping[str, Series] = field(default_factory=dict)
    """By key of :data:`CURVES`."""
    facts: Mapping[str, JSONValue] = field(default_factory=dict)
    """By key of :data:`RUN_FACTS`."""
    setup: Mapping[str, JSONValue] = field(default_factory=dict)
    """How it was measured: ``device, precision, steps, batch_size, inputs, data, loss, optimizer, lr, seed, world_size, torch``; words or
    numbers, for people and for comparing two runs."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Why something was not measured, by key."""
    notes: tuple[str, ...] = ()
    """What the reader should know: what was inferred, smaller batches after running out of memory ..."""

    @property
    def steps(self) -> int:
        """Steps that were run."""
        return max((len(values) for values in self.series.values()), default=0)

    def to_dict(self) -> dict[str, Any]:
        """The measurements as JSON, numbers that are not finite included."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote, also after ``json`` made lists of tuples.

        Raises:
            KeyError, TypeError, ValueError: ``data`` holds no measurements.

        """
        layers = tuple(
            LayerMeasurements(
                **{
                    **layer,
                    "location": layer["location"] and Location(**layer["location"]),
                    "series": _read_series(layer["series"]),
                }
            )
            for layer in data["layers"]
        )
        return cls(
            **{
                **data,
                "layers": layers,
                "series": _read_series(data["series"]),
                "curves": _read_series(data["curves"]),
                "notes": tuple(data["notes"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A finding that a measurement contradicts, and the measurement."""

    finding: Finding
    reason: str


def _read_series(data: Mapping[str, Any]) -> dict[str, Series]:
    return {str(key): tuple(None if value is None else float(value) for value in values) for key, values in data.items()}
