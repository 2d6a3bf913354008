"""BatchNorm with batch statistics against BatchNorm with running ones, and the noise that batch statistics bring."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from normadvisor.probe.running.batchnorm import (
    NormLayer,
    Statistics,
    assign_settled,
    running_of,
    sample_noise,
    statistics_noise,
    watching_gaps,
    watching_samples,
    watching_statistics,
)
from normadvisor.probe.running.capture import Captured, Snapshot, capturing, layer_gaps, paired, snapshot
from normadvisor.probe.running.comparison import COMPARED, Modes, anchors, batch_of_number, beside_others, rms, why_no_gap
from normadvisor.probe.running.outputs import difference
from normadvisor.probe.running.samples import Batch

__all__ = ["norms_against_eval"]

SMALL_GAP = 0.01
"""A relative difference of outputs that nobody needs to explain."""


def norms_against_eval(modes: Modes, first: Batch, *, fresh: bool | None) -> None:
    """BatchNorm with batch statistics against BatchNorm with running ones, nothing else being different."""
    session, found = modes.session, modes.session.found
    flags = modes.norms_in_train
    using = {name: layer for name, layer in modes.layers.items() if modes.uses[name]}
    if session.source.real and fresh is False:
        session.fresh()
        found_first = snapshot(modes.run(first, flags))
        session.fresh()
        gap = difference(*paired(found_first, snapshot(modes.run(first, session.eval_flags))))
        found.fact("checkpoint_gap", gap, "the eval output is zero or not finite")
    start = running_of(modes.layers)
    outputs: list[Snapshot] = []
    inner: list[Captured] = []
    with watching_statistics(using) as seen:
        for number in range(modes.passes):
            batch = first if number == 0 else batch_of_number(modes, number)
            with capturing(modes.modules) as layers:
                output = modes.run(batch, flags)
            if number < COMPARED:
                outputs.append(snapshot(output))
                inner.append(layers)
    assign_settled(using, seen, start)
    _gaps_of_norms(modes, first, outputs, inner)
    _gaps_of_layers(modes, using, first, flags)
    _noise_of_statistics(modes, seen, first)
    _noise_of_samples(modes, using, first, flags)


def _gaps_of_norms(modes: Modes, first: Batch, outputs: list[Snapshot], inner: list[Captured]) -> None:
    """What eval mode, with settled statistics, makes of the batches that were run with batch statistics."""
    found = modes.session.found
    whole: list[float] = []
    by_layer: dict[str, list[float]] = {}
    why = ""
    for number, (output, layers) in enumerate(zip(outputs, inner, strict=True)):
        with capturing(modes.modules) as with_running:
            running = snapshot(modes.run(first if number == 0 else batch_of_number(modes, number), modes.session.eval_flags))
        why = why_no_gap(running)
        gap = difference(*paired(output, running))
        whole += [] if gap is None else [gap]
        for name, value in layer_gaps(layers, with_running).items():
            by_layer.setdefault(name, []).append(value)
    found.fact("norm_gap", rms(whole) if whole else None, why)
    for name, values in by_layer.items():
        found.layer(name, "norm_gap", rms(values))


def _gaps_of_layers(modes: Modes, using: dict[str, NormLayer], first: Batch, flags: Mapping[nn.Module, bool]) -> None:
    """What eval mode of each layer by itself makes of its input, the running statistics being settled."""
    settled = running_of(using)
    gaps: dict[str, list[float]] = {}
    for number in range(COMPARED):
        with watching_gaps(using, settled) as seen:
            modes.run(first if number == 0 else batch_of_number(modes, number), flags)
        for name, values in seen.items():
            gaps.setdefault(name, []).extend(values)
    for name, values in gaps.items():
        modes.session.found.layer(name, "bn_gap", rms(values) if values else None)


def _excess(modes: Modes, name: str, mean_noise: float, var_noise: float) -> float | None:
    """A layer's gap over the one that noise explains: mean and standard deviation move by these much around the settled ones.

    Half the relative movement of the variance is that of the standard deviation. A layer behind a branch that begins at zero gets
    almost constant values, whose statistics hardly move: a gap of :data:`SMALL_GAP` is always taken as explained.
    """
    gap = modes.session.found.layers.get(name, {}).get("bn_gap")
    expected = (mean_noise**2 + var_noise**2 / 4 + SMALL_GAP**2) ** 0.5
    return gap / expected if isinstance(gap, float) else None


def _noise_of_statistics(modes: Modes, seen: Mapping[str, Statistics], first: Batch) -> None:
    found = modes.session.found
    correction = 1.0
    if modes.count < modes.passes:
        pool = (first.size or 1) * modes.count
        if pool < 2 * modes.count or pool < 4:
            found.missing["bn_noise"] = "too few samples to see how much batch statistics move"
            return
        # Samples drawn again from a pool of n vary less than new ones, by (n - 1) / n.
        correction = (pool / (pool - 1)) ** 0.5
        found.notes.append(f"BatchNorm noise: batches were drawn again from the {pool} samples given")
    for name, statistics in seen.items():
        noise = statistics_noise(statistics, len(statistics.means) // modes.passes)
        if noise is not None:
            found.layer(name, "bn_mean_noise", noise[0] * correction)
            found.layer(name, "bn_var_noise", noise[1] * correction)
            found.layer(name, "bn_excess", _excess(modes, name, noise[0] * correction, noise[1] * correction))


def _noise_of_samples(modes: Modes, using: dict[str, NormLayer], first: Batch, flags: Mapping[nn.Module, bool]) -> None:
    """How far a sample's values move with the rest of its batch, in every BatchNorm layer and in the output."""
    found = modes.session.found
    if first.size is None or first.size < 2:
        found.missing["norm_noise"] = "samples of a batch cannot be told apart, or there is only one"
        return
    values: dict[str, list[Tensor]] = {name: [] for name in using}
    outputs: list[Snapshot] = []
    one = (first.size, anchors(first.size))
    for number in range(modes.passes):
        mixed = first if number == 0 else beside_others(modes, first, number)
        if mixed is None:
            found.missing["norm_noise"] = "samples of different batches do not fit together"
            return
        with watching_samples(using, *one) as seen:
            outputs.append(snapshot(modes.run(mixed, flags), sample=one))
        for name, tensors in seen.items():
            values[name] += tensors[:1]
    # Batch statistics of which `a` in `n` samples stay move less than those of which one stays, by (n - a) / (n - 1) in variance.
    correction = ((one[0] - 1) / (one[0] - one[1])) ** 0.5
    for name, tensors in values.items():
        noise = sample_noise(tensors)
        found.layer(name, "bn_noise", None if noise is None else noise * correction)
    spread = _relative_spread(outputs)
    found.fact("norm_noise", None if spread is None else spread * correction, "the output holds nothing of one sample, or is zero")


def _relative_spread(outputs: list[Snapshot]) -> float | None:
    """RMS standard deviation between outputs over their RMS."""
    shared = [name for name in outputs[0] if all(name in other and other[name][0] == outputs[0][name][0] for other in outputs)]
    spread = size = 0.0
    for name in shared:
        stacked = torch.stack([output[name][1] for output in outputs])
        spread += float(stacked.var(0, correction=1).sum())
        size += float(stacked.square().mean(0).sum())
    return float((spread / size) ** 0.5) if 0 < size < float("inf") else None
