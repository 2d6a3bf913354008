"""How train and eval mode differ: what is meant to differ (dropout, batch noise) and what is not, told apart.

All comparisons use the same weights, no gradients, and the first batch. Three modes are compared:

- *train*: all modules as in training;
- *eval*: all modules as after ``model.eval()``;
- *norms in train*: as eval, but BatchNorm layers use the batch.

New running statistics say nothing about the data yet, so they are settled first: passes in the mode that is to be compared, after which
they get the values that they would go to (:func:`~normadvisor.probe.running.batchnorm.assign_settled`). Without that, every fresh model
would show a gap whose size is its momentum's. What remains between *norms in train* and *eval* is the noise of batch statistics, which is
measured on its own (the same sample beside others), so a layer whose eval mode computes something else stands out whatever the batch size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from normadvisor.probe.recording.layers import walk
from normadvisor.probe.running.batchnorm import (
    NormLayer,
    assign_settled,
    follows,
    is_fresh,
    norm_layers,
    running_of,
    uses_batch,
    watching_statistics,
)
from normadvisor.probe.running.capture import Snapshot, capturing, layer_gaps, paired, snapshot
from normadvisor.probe.running.comparison import (
    NEGLIGIBLE,
    PASSES,
    REPEATS,
    Modes,
    anchors,
    batch_of_number,
    beside_others,
    rms,
    why_no_gap,
)
from normadvisor.probe.running.failures import failure, ran_out_of_memory
from normadvisor.probe.running.norm_modes import norms_against_eval
from normadvisor.probe.running.outputs import difference, similarity
from normadvisor.probe.running.own_code import measure_own_code
from normadvisor.probe.running.random_calls import DROPPING, watching_random_calls
from normadvisor.probe.running.samples import Batch
from normadvisor.probe.running.session import Session
from normadvisor.types.measurements import NO_BATCH_STATISTICS, NO_RUNNING_STATISTICS

__all__ = ["is_random_layer", "measure_modes"]

SHARE = 0.8
"""Share of the budget after which this phase is cut short."""
_KEYS = (
    "train_eval_similarity", "train_eval_gap", "train_eval_bias", "train_repeat_gap", "norm_gap", "norm_noise", "eval_repeat_gap",
    "eval_batch_gap", "code_gap", "drop_scale",
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
    found.fact("bn_fresh", fresh, NO_RUNNING_STATISTICS)
    count = session.ranks.least(session.source.count or PASSES)
    passes = session.ranks.least(session.budget.passes(PASSES, 2, 4.5 * session.budget.forward, SHARE))
    if passes == 0:
        for key in _KEYS:
            found.missing.setdefault(key, f"no time was left of {session.budget.seconds:g} s")
        return
    modes = Modes(session, layers, passes, count, modules=_named(session.model, recorded))
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
    modules = dict(walk(model))
    return {name: modules[name] for name in names if name in modules}


def _flags_that_stay(session: Session, layers: Mapping[str, NormLayer]) -> None:
    """Dropout layers and norms whose flag does not follow ``model.train()`` and ``model.eval()``."""
    watched = {
        name: module
        for name, module in walk(session.model)
        if name in layers or is_random_layer(module, session.ops.get(name))
    }
    session.found.facts["train_in_eval"] = [name for name, module in watched.items() if session.eval_flags[module]]
    session.found.facts["eval_in_train"] = [name for name, module in watched.items() if not session.train_flags[module]]


def _measure(modes: Modes, *, fresh: bool | None) -> None:
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
    found.fact("eval_repeat_gap", repeat, why_no_gap(evaluated))
    if repeat is not None and repeat > NEGLIGIBLE:
        _who_is_random(modes, first)
    for name, gap in layer_gaps(twice, once).items():
        found.layer(name, "eval_repeat_gap", gap)
    _train_against_eval(session, trained, evaluated)
    session.progress("modes", 2, 4)
    _eval_beside_others(modes, first, repeat)
    session.progress("modes", 3, 4)
    if any(modes.uses.values()):
        norms_against_eval(modes, first, fresh=fresh)
    else:
        for key in ("norm_gap", "norm_noise"):
            found.missing[key] = NO_BATCH_STATISTICS
    random = frozenset(name for name, module in walk(session.model) if is_random_layer(module, session.ops.get(name)))
    measure_own_code(modes, first, random)
    session.progress("modes", 4, 4)


def _who_is_random(modes: Modes, first: Batch) -> None:
    """Name the modules that draw random numbers in eval mode: dropout that stays on apart from sampling that is meant."""
    with watching_random_calls(modes.session.model) as calls:
        modes.run(first, modes.session.eval_flags)
    dropping = [module for name, module in calls if name in DROPPING]
    modes.session.found.facts["eval_dropout"] = list(dict.fromkeys(dropping))
    modes.session.found.facts["eval_sampling"] = list(dict.fromkeys(module for name, module in calls if name not in DROPPING))


def _settle_in_train(modes: Modes, first: Batch) -> None:
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
            modes.run(batch_of_number(modes, number), session.train_flags)
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


def _train_against_eval(session: Session, trained: list[Snapshot], evaluated: Snapshot) -> None:
    """The gap between train and eval mode, its random part, and its systematic part."""
    found = session.found
    keys = ("train_eval_gap", "train_eval_similarity", "train_eval_bias", "train_repeat_gap")
    if not trained[0]:
        for key in keys:
            found.missing[key] = "the train output holds no tensor of real numbers"
        return
    mine, theirs = paired(trained[0], evaluated)
    zero = "the eval output is zero or not finite"
    if not mine:
        for key in keys[:3]:
            found.missing[key] = "train and eval outputs have no shape in common"
    else:
        found.fact("train_eval_gap", difference(mine, theirs), zero)
        found.fact("train_eval_similarity", similarity(mine, theirs), "an output is zero or not finite")
        found.fact("train_eval_bias", _bias([paired(other, evaluated)[0] for other in trained], theirs), zero)
    repeated = [difference(*paired(other, trained[0])) for other in trained[1:]]
    known = [gap for gap in repeated if gap is not None]
    found.fact("train_repeat_gap", rms(known) if known else None, "the train output is zero or not finite")


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


def _eval_beside_others(modes: Modes, first: Batch, repeat: float | None) -> None:
    """Whether a sample's eval output depends on the samples beside it."""
    session, found = modes.session, modes.session.found
    if repeat is not None and repeat > NEGLIGIBLE:
        found.missing["eval_batch_gap"] = "eval outputs are random"
        return
    mixed = beside_others(modes, first, 1)
    if mixed is None or first.size is None:
        found.missing["eval_batch_gap"] = "samples of a batch cannot be told apart, or there is only one"
        return
    one = (first.size, anchors(first.size))
    with capturing(modes.modules, sample=one) as alone:
        expected = snapshot(modes.run(first, session.eval_flags), sample=one)
    with capturing(modes.modules, sample=one) as beside:
        actual = snapshot(modes.run(mixed, session.eval_flags), sample=one)
    found.fact("eval_batch_gap", difference(*paired(actual, expected)) if expected else None, why_no_gap(expected))
    for name, gap in layer_gaps(beside, alone).items():
        found.layer(name, "eval_batch_gap", gap)
