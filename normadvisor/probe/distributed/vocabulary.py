"""How what single ranks measured becomes what was measured of all: one way for each key of :mod:`normadvisor.types.measurements`.

The measurements of all ranks together are those of one batch that is the batches of all ranks, with the loss that data-parallel training
minimizes: the mean of the ranks' losses.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["LAYER_FACT_WAYS", "LAYER_WAYS", "RUN_FACT_WAYS", "RUN_WAYS", "Way"]


class Way(StrEnum):
    """A way to join numbers x of R ranks."""

    PARTS = "parts"
    """A norm of parameters or of their gradients: √(Σ x²) where each rank has its own part, each part counted once."""
    PARTS_RMS = "parts_rms"
    """The same as root mean square."""
    PARTS_RATIO = "parts_ratio"
    """A ratio of such norms to that of the weights."""
    PARTS_SUM = "parts_sum"
    """A count over parameters: Σ x, each part counted once."""
    LOSS_GRADIENT = "loss_gradient"
    """A norm of gradients of the rank's own loss, which is 1/R of the joint one: √(Σ x²)/R."""
    LOSS_GRADIENT_RMS = "loss_gradient_rms"
    """The same as root mean square: √(Σ x² / Σ n)/R."""
    SPREAD = "spread"
    """A standard deviation, as of all values together."""
    SAMPLES = "samples"
    """The mean, ranks with more samples counting more."""
    SAMPLES_RMS = "samples_rms"
    """The root mean square, ranks with more samples counting more."""
    MEAN = "mean"
    RMS = "rms"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    ALL = "all"
    """Whether it is so on every rank."""
    ANY = "any"
    """Whether it is so on some rank."""
    FIRST = "first"
    """What rank 0 says: words, or what is the same everywhere."""


LAYER_WAYS: dict[str, Way] = {
    "grad_norm": Way.PARTS,
    "grad_rms": Way.PARTS_RMS,
    "weight_grad_norm": Way.PARTS,
    "act_grad_norm": Way.LOSS_GRADIENT,
    "act_grad_rms": Way.LOSS_GRADIENT_RMS,
    "weight_norm": Way.PARTS,
    "update_ratio": Way.PARTS_RATIO,
    "act_mean": Way.SAMPLES,
    "act_std": Way.SPREAD,
    # Between samples of different ranks nothing is known; each rank's is an estimate of the same quantity.
    "sample_std": Way.SAMPLES_RMS,
    "act_abs_max": Way.MAX,
    # Units that are dead on all ranks are at most as many as on the rank with the fewest.
    "dead_share": Way.MIN,
    "zero_share": Way.SAMPLES,
    "saturated_share": Way.SAMPLES,
    "nonfinite": Way.SUM,
    "grad_nonfinite": Way.PARTS_SUM,
    "call_growth": Way.SAMPLES,
    "bn_mean_gap": Way.SAMPLES_RMS,
    "bn_var_gap": Way.SAMPLES_RMS,
}
"""Of :data:`normadvisor.types.measurements.LAYER_SERIES`."""

LAYER_FACT_WAYS: dict[str, Way] = {
    "activation": Way.FIRST,
    "tied": Way.FIRST,
    "bias_grad_ratio": Way.MAX,
    "dead_share": Way.MIN,
    "no_gradient": Way.ALL,
    "frozen": Way.ALL,
    "bn_noise": Way.RMS,
    "bn_mean_noise": Way.RMS,
    "bn_var_noise": Way.RMS,
    "bn_gap": Way.RMS,
    "bn_excess": Way.MEAN,
    "bn_tracks": Way.ALL,
    "bn_momentum": Way.FIRST,
    "bn_uses": Way.FIRST,
    "bn_rank_gap": Way.FIRST,
    "bn_rank_shift": Way.FIRST,
    "bn_sync": Way.FIRST,
    "noise_scale": Way.MEAN,
    "train_eval_gap": Way.RMS,
    "norm_gap": Way.RMS,
    "eval_repeat_gap": Way.RMS,
    "eval_batch_gap": Way.RMS,
    "code_gap": Way.RMS,
    "alike_share": Way.MIN,
}
"""Of :data:`normadvisor.types.measurements.LAYER_FACTS`."""

RUN_WAYS: dict[str, Way] = {
    "loss": Way.MEAN,
    "grad_norm": Way.PARTS,
    "update_ratio": Way.PARTS_RATIO,
    "loss_scale": Way.MEAN,
    "seconds": Way.MAX,
}
"""Of :data:`normadvisor.types.measurements.RUN_SERIES`."""

RUN_FACT_WAYS: dict[str, Way] = {
    "initial_loss": Way.MEAN,
    "expected_initial_loss": Way.MEAN,
    "classes": Way.MAX,
    "train_eval_similarity": Way.MEAN,
    "train_eval_gap": Way.RMS,
    "train_eval_bias": Way.RMS,
    "train_repeat_gap": Way.RMS,
    "code_gap": Way.RMS,
    "drop_scale": Way.MEAN,
    "drop_modules": Way.FIRST,
    "norm_gap": Way.RMS,
    "norm_noise": Way.RMS,
    "checkpoint_gap": Way.RMS,
    "bn_fresh": Way.ALL,
    "train_in_eval": Way.FIRST,
    "eval_in_train": Way.FIRST,
    "eval_repeat_gap": Way.RMS,
    "eval_batch_gap": Way.RMS,
    "noise_scale": Way.MEAN,
    # Each rank fits a batch of its own.
    "eval_dropout": Way.FIRST,
    "eval_sampling": Way.FIRST,
    "overfit_first": Way.MEAN,
    "overfit_last": Way.MEAN,
    "overfit_floor": Way.MEAN,
    "overfit_iterations": Way.MAX,
    "overfit_lr": Way.MEAN,
    "nonfinite_step": Way.MIN,
    "nonfinite_layer": Way.FIRST,
    "nonfinite_op": Way.FIRST,
    "nonfinite_line": Way.FIRST,
    "nonfinite_input": Way.ANY,
    "unregistered": Way.FIRST,
    "unregistered_line": Way.FIRST,
    "attention_peak": Way.MAX,
    "peaked_attention": Way.FIRST,
    "peaked_line": Way.FIRST,
    "differentiable": Way.ANY,
    "real_data": Way.ALL,
    "own_optimizer": Way.ALL,
    "batch_given": Way.ALL,
    "restored": Way.ALL,
    "peak_memory": Way.MAX,
    "rank_gradient_gap": Way.FIRST,
    "rank_weight_gap": Way.FIRST,
}
"""Of :data:`normadvisor.types.measurements.RUN_FACTS`."""
