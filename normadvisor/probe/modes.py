"""How train and eval mode differ: what is meant to differ (dropout, batch noise) and what is not, told apart.

All comparisons use the same weights, no gradients, and the first batch. Three modes are compared:

- *train*: all modules as in training;
- *eval*: all modules as after ``model.eval()``;
- *norms in train*: as eval, but BatchNorm layers use the batch.

New running statistics say nothing about the data yet, so they are settled first: passes in the mode that is to be compared, after which they
get the values that they would go to (:func:`normadvisor.probe.batchnorm.assign_settled`). Without that, every fresh model would show a gap
whose size is its momentum's. What remains between *norms in train* and *eval* is the noise of batch statistics, which is measured on
its own (the same sample beside others), so a layer whose eval mode computes something else stands out whatever the batch size.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from normadvisor.probe.batchnorm import (
    NormLayer,
    Statistics,
    assign_settled,
    follows,
    is_fresh,
    norm_layers,
    running_of,
    sample_noise,
    statistics_noise,
    uses_batch,
    watching_samples,
    watching_statistics,
)
from normadvisor.probe.capture import Captured, Snapshot, capturing, layer_gaps, paired, snapshot
from normadvisor.probe.failures import failure, ran_out_of_memory
from normadvisor.probe.outputs import difference, similarity
from normadvisor.probe.samples import Batch, UnequalSamplesError, gather
from normadvisor.probe.session import Session

__all__ = ["is_random_layer", "measure_modes"]

PASSES = 8
"""Batches that statistics are settled on and compared between."""
REPEATS = 4
"""Train passes on one batch."""
ANCHORS = 4
"""Most samples that stay while the rest of their batch changes: at most one in eight."""
COMPARED = 4
"""Batches on which norms in train mode and in eval mode are compared."""
SHARE = 0.8
"""Share of the budget after which this phase is cut short."""
NEGLIGIBLE = 1e-6
"""Relative differences below this are rounding of float32."""
_KEYS = (
    "train_eval_similarity", "train_eval_gap", "train_eval_bias", "train_repeat_gap", "norm_gap", "norm_noise", "eval_repeat_gap",
    "eval_batch_gap",
)  # fmt: skip
_NAMES = ("DropPath", "StochasticDepth", "DropBlock")


def is_random_layer(module: nn.Module, op: str | None) -> bool:
    """Whether a module drops values at random in train mode: dropout in any form, or a layer with dropout inside that is on."""
    if op in ("dropout", "feature_dropout", "alpha_dropout", "drop_path") or type(module).__name__.startswith(_NAMES):
        return float(getattr(module, "p", None) or getattr(module, "drop_prob", None) or 0.0) > 0
    if isinstance(module, nn.modules.dropout._DropoutNd):  # noqa: SLF001 -- the common base of all dropout layers has no public name
        return module.p > 0
    inside = getattr(module, "dropout", None)
    return isinstance(module, nn.MultiheadAttention | nn.RNNBase) and isinstance(inside, float) and inside > 0


@dataclass(slots=True)
class _Modes:
    session: Session
    layers: dict[str, NormLayer]
    passes: int
    count: int
    """Different batches."""
    uses: dict[str, bool] = field(default_factory=dict)
    settled: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def norms_in_train(self) -> dict[str, bool]:
        """Flags of the third mode: BatchNorm layers that use the batch in training, and what they consist of."""
        using = tuple(f"{name}." for name in self.layers if self.uses.get(name))
        train = self.session.train_flags
        evaluation = self.session.eval_flags
        return {name: (train.get(name, flag) if f"{name}.".startswith(using) else flag) for name, flag in evaluation.items()}

    def run(self, batch: Batch, flags: Mapping[str, bool]) -> Any:
        """One forward pass in a mode."""
        with self.session.mode(flags), torch.no_grad():
            return self.session.forward(batch)


def measure_modes(session: Session, recorded: list[str]) -> None:
    """Measure what changes between the modes of a model; writes facts and reasons into ``session.found``.

    Args:
        session: as it was found, seeded.
        recorded: names of the layers whose own gaps are wanted.

    """
    layers = norm_layers(session.model, session.ops)
    found = session.found
    _flags_that_stay(session, layers)
    fresh = is_fresh(layers)
    found.fact("bn_fresh", fresh, "no layer keeps running statistics")
    count = session.source.count or PASSES
    passes = session.budget.passes(PASSES, 2, 4.5 * session.budget.forward, SHARE)
    if session.ranks.any(passes == 0):
        for key in _KEYS:
            found.missing.setdefault(key, f"no time was left of {session.budget.seconds:g} s")
        return
    modes = _Modes(session, layers, passes, count, modules=_named(session.model, recorded))
    try:
        _measure(modes, fresh=fresh)
    except Exception as error:
        if session.ranks.world_size > 1:
            raise
        words = "memory ran out" if ran_out_of_memory(error) else failure(session.model, "a forward pass failed", error).message
        for key in _KEYS:
            if key not in found.facts:
                found.missing.setdefault(key, words)


def _named(model: nn.Module, names: list[str]) -> dict[str, nn.Module]:
    modules = dict(model.named_modules())
    return {name: modules[name] for name in names if name in modules}


def _flags_that_stay(session: Session, layers: Mapping[str, NormLayer]) -> None:
    """Dropout layers and norms whose flag does not follow ``model.train()`` and ``model.eval()``."""
    watched = {
        name: module
        for name, module in session.model.named_modules()
        if name in layers or is_random_layer(module, session.ops.get(name))
    }
    session.found.facts["train_in_eval"] = [name for name in watched if session.eval_flags.get(name)]
    session.found.facts["eval_in_train"] = [name for name in watched if not session.train_flags.get(name, True)]


def _measure(modes: _Modes, *, fresh: bool | None) -> None:
    session, found = modes.session, modes.session.found
    first = session.source.batch(0)
    session.progress("modes", 0, 4)
    _settle_in_train(modes, first)
    trained = [snapshot(modes.run(first, session.train_flags)) for _ in range(REPEATS)]
    _put(modes.layers, modes.settled)
    session.progress("modes", 1, 4)
    with capturing(modes.modules) as once:
        evaluated = snapshot(modes.run(first, session.eval_flags))
    with capturing(modes.modules) as twice:
        again = snapshot(modes.run(first, session.eval_flags))
    repeat = difference(*paired(again, evaluated)) if evaluated else None
    found.fact("eval_repeat_gap", repeat, _why_no_gap(evaluated))
    for name, gap in layer_gaps(twice, once).items():
        found.layer(name, "eval_repeat_gap", gap)
    _train_against_eval(session, trained, evaluated)
    session.progress("modes", 2, 4)
    _eval_beside_others(modes, first, repeat)
    session.progress("modes", 3, 4)
    if any(modes.uses.values()):
        _norms_against_eval(modes, first, fresh=fresh)
    else:
        for key in ("norm_gap", "norm_noise"):
            found.missing[key] = "no layer normalizes with the statistics of the batch"
    session.progress("modes", 4, 4)


def _why_no_gap(evaluated: Snapshot) -> str:
    if not evaluated:
        return "the eval output holds no tensor of real numbers"
    return "the eval output is zero or not finite"


def _settle_in_train(modes: _Modes, first: Batch) -> None:
    """Find out how BatchNorm layers behave in train mode, and settle their statistics there."""
    session, found = modes.session, modes.session.found
    start = running_of(modes.layers)
    answers: dict[str, list[bool]] = {}
    handles = []
    with watching_statistics(modes.layers) as seen:
        for name, layer in modes.layers.items():
            hook, answers[name] = uses_batch(layer)
            handles.append(layer.module.register_forward_hook(hook))
        try:
            modes.run(first, session.train_flags)
        finally:
            for handle in handles:
                handle.remove()
        modes.uses = {name: bool(answer and answer[0]) for name, answer in answers.items()}
        for number in range(1, modes.passes):
            modes.run(_batch(modes, number), session.train_flags)
    for name in modes.layers:
        if answers[name]:
            found.layer(name, "bn_uses", "batch" if answers[name][0] else "running")
        if modes.uses[name]:
            follow, share = follows(seen[name])
            found.layer(name, "bn_tracks", follow)
            found.layer(name, "bn_momentum", share)
    using = {name: layer for name, layer in modes.layers.items() if modes.uses[name]}
    assign_settled(using, seen, start)
    modes.settled = running_of(modes.layers)


def _put(layers: Mapping[str, NormLayer], values: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for name, (mean, var) in values.items():
            running = layers[name].running
            if running is not None:
                running[0].copy_(mean)
                running[1].copy_(var)


def _batch(modes: _Modes, number: int) -> Batch:
    """Batch ``number``; put together anew from the samples of all where there are fewer than :data:`PASSES` different ones."""
    session = modes.session
    if modes.count > number:
        return session.source.batch(number)
    batches = [session.source.batch(i) for i in range(modes.count)]
    size = batches[0].size
    if size is None or size * modes.count < 2:
        return batches[number % modes.count]
    chooser = random.Random(number)  # noqa: S311 -- which samples stand together is no secret
    pool = [(i, sample) for i, batch in enumerate(batches) for sample in range(batch.size or 0)]
    try:
        return gather(batches, [chooser.choice(pool) for _ in range(size)], key=number)
    except UnequalSamplesError:
        return batches[number % modes.count]


def _train_against_eval(session: Session, trained: list[Snapshot], evaluated: Snapshot) -> None:
    """The gap between train and eval mode, its random part, and its systematic part."""
    found = session.found
    keys = ("train_eval_gap", "train_eval_similarity", "train_eval_bias", "train_repeat_gap")
    if not trained[0]:
        for key in keys:
            found.missing[key] = "the train output holds no tensor of real numbers"
        return
    mine, theirs = paired(trained[0], evaluated)
    if not mine:
        for key in keys[:3]:
            found.missing[key] = "train and eval outputs have no shape in common"
    else:
        found.fact("train_eval_gap", difference(mine, theirs), "the eval output is zero or not finite")
        found.fact("train_eval_similarity", similarity(mine, theirs), "an output is zero or not finite")
        found.fact("train_eval_bias", _bias([paired(other, evaluated)[0] for other in trained], theirs), "the eval output is zero or not finite")
    repeated = [difference(*paired(other, trained[0])) for other in trained[1:]]
    known = [gap for gap in repeated if gap is not None]
    found.fact("train_repeat_gap", _rms(known) if known else None, "the train output is zero or not finite")


def _rms(values: list[float]) -> float:
    return float((sum(value * value for value in values) / len(values)) ** 0.5)


def _bias(trained: list[list[Tensor]], evaluated: list[Tensor]) -> float | None:
    """Distance of the mean of train outputs from the eval output, relative to that.

    The squared distance of a mean of ``R`` noisy outputs is too large by their variance over ``R``, which is subtracted.
    """
    above = below = 0.0
    for index, target in enumerate(evaluated):
        stacked = torch.stack([tensors[index] for tensors in trained])
        noise = stacked.var(0, correction=1) / len(trained)
        above += float(((stacked.mean(0) - target).square() - noise).nansum())
        below += float(target.square().sum())
    if not below or not 0 < below < float("inf"):
        return None
    return float(max(above, 0.0) ** 0.5 / below**0.5)


def _beside_others(modes: _Modes, first: Batch, number: int) -> Batch | None:
    """The first samples of the first batch beside others; ``None`` where samples cannot be told apart."""
    size = first.size
    if size is None or size < 2:
        return None
    session = modes.session
    stay = [(0, sample) for sample in range(_anchors(size))]
    try:
        if modes.count > number:
            other = session.source.batch(number)
            return gather([first, other], [*stay, *((1, sample) for sample in range(len(stay), size))], key=number)
        batches = [session.source.batch(i) for i in range(modes.count)]
        pool = [(i, sample) for i, batch in enumerate(batches) for sample in range(batch.size or 0) if (i, sample) not in stay]
        chooser = random.Random(1000 + number)  # noqa: S311 -- which samples stand together is no secret
        return gather(batches, [*stay, *(chooser.choice(pool) for _ in range(size - len(stay)))], key=number)
    except (UnequalSamplesError, IndexError):
        return None


def _anchors(size: int) -> int:
    return max(1, min(ANCHORS, size // 8))


def _eval_beside_others(modes: _Modes, first: Batch, repeat: float | None) -> None:
    """Whether a sample's eval output depends on the samples beside it."""
    session, found = modes.session, modes.session.found
    if repeat is not None and repeat > NEGLIGIBLE:
        found.missing["eval_batch_gap"] = "eval outputs are random"
        return
    mixed = _beside_others(modes, first, 1)
    if mixed is None or first.size is None:
        found.missing["eval_batch_gap"] = "samples of a batch cannot be told apart, or there is only one"
        return
    one = (first.size, _anchors(first.size))
    with capturing(modes.modules, sample=one) as alone:
        expected = snapshot(modes.run(first, session.eval_flags), sample=one)
    with capturing(modes.modules, sample=one) as beside:
        actual = snapshot(modes.run(mixed, session.eval_flags), sample=one)
    found.fact("eval_batch_gap", difference(*paired(actual, expected)) if expected else None, _why_no_gap(expected))
    for name, gap in layer_gaps(beside, alone).items():
        found.layer(name, "eval_batch_gap", gap)


def _norms_against_eval(modes: _Modes, first: Batch, *, fresh: bool | None) -> None:
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
            batch = first if number == 0 else _batch(modes, number)
            with capturing(modes.modules) as layers:
                output = modes.run(batch, flags)
            if number < COMPARED:
                outputs.append(snapshot(output))
                inner.append(layers)
    assign_settled(using, seen, start)
    _gaps_of_norms(modes, first, outputs, inner)
    _noise_of_statistics(modes, seen, first)
    _noise_of_samples(modes, using, first, flags)


def _gaps_of_norms(modes: _Modes, first: Batch, outputs: list[Snapshot], inner: list[Captured]) -> None:
    """What eval mode, with settled statistics, makes of the batches that were run with batch statistics."""
    found = modes.session.found
    whole: list[float] = []
    by_layer: dict[str, list[float]] = {}
    why = ""
    for number, (output, layers) in enumerate(zip(outputs, inner, strict=True)):
        with capturing(modes.modules) as with_running:
            running = snapshot(modes.run(first if number == 0 else _batch(modes, number), modes.session.eval_flags))
        why = _why_no_gap(running)
        gap = difference(*paired(output, running))
        whole += [] if gap is None else [gap]
        for name, value in layer_gaps(layers, with_running).items():
            by_layer.setdefault(name, []).append(value)
    found.fact("norm_gap", _rms(whole) if whole else None, why)
    for name, values in by_layer.items():
        found.layer(name, "norm_gap", _rms(values))


def _noise_of_statistics(modes: _Modes, seen: Mapping[str, Statistics], first: Batch) -> None:
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


def _noise_of_samples(modes: _Modes, using: dict[str, NormLayer], first: Batch, flags: Mapping[str, bool]) -> None:
    """How far a sample's values move with the rest of its batch, in every BatchNorm layer and in the output."""
    found = modes.session.found
    if first.size is None or first.size < 2:
        found.missing["norm_noise"] = "samples of a batch cannot be told apart, or there is only one"
        return
    values: dict[str, list[Tensor]] = {name: [] for name in using}
    outputs: list[Snapshot] = []
    one = (first.size, _anchors(first.size))
    for number in range(modes.passes):
        mixed = first if number == 0 else _beside_others(modes, first, number)
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


