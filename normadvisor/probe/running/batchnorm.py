"""BatchNorm layers: which there are, whether their running statistics follow the batches, and how much batch statistics move.

What counts as one: ``torch``'s own classes and those derived from them, layers that a graph calls ``batch_norm``, and any other module with
tensors ``running_mean`` and ``running_var`` (or ``moving_``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normadvisor.probe.recording.layers import walk
from normadvisor.probe.running.trees import named_tensors

__all__ = [
    "NormLayer",
    "Statistics",
    "assign_settled",
    "follows",
    "is_fresh",
    "norm_layers",
    "running_of",
    "sample_noise",
    "statistics_noise",
    "uses_batch",
    "watching_gaps",
    "watching_samples",
    "watching_statistics",
]


_NAMES = (("running_mean", "running_var"), ("moving_mean", "moving_var"), ("moving_mean", "moving_variance"))


@dataclass(slots=True)
class NormLayer:
    """A BatchNorm layer."""

    name: str
    module: nn.Module
    derived: bool
    """Whether it is one of ``torch``'s layers, or of a class derived from them."""

    @property
    def running(self) -> tuple[Tensor, Tensor] | None:
        """Its running mean and variance by channel, as views of its own; ``None`` where it keeps none."""
        for names in _NAMES:
            mean, var = (getattr(self.module, name, None) for name in names)
            if isinstance(mean, Tensor) and isinstance(var, Tensor) and mean.shape == var.shape and mean.is_contiguous():
                return mean.view(-1), var.view(-1)
        return None


@dataclass(slots=True)
class Statistics:
    """What one BatchNorm layer saw in several passes, one entry per call."""

    means: list[Tensor] = field(default_factory=list)
    """Batch means by channel, float64."""
    variances: list[Tensor] = field(default_factory=list)
    """Batch variances by channel, biased, float64."""
    counts: list[int] = field(default_factory=list)
    """Values per channel."""
    before: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Running statistics before each call, where there are any."""
    after: list[tuple[Tensor, Tensor]] = field(default_factory=list)


def norm_layers(model: nn.Module, ops: Mapping[str, str | None]) -> dict[str, NormLayer]:
    """The BatchNorm layers of a model by name; those of instance normalization are none."""
    found: dict[str, NormLayer] = {}
    for name, module in walk(model):
        op = ops.get(name)
        if isinstance(module, _BatchNorm):
            found[name] = NormLayer(name, module, derived=True)
        elif isinstance(module, nn.modules.instancenorm._InstanceNorm):  # noqa: SLF001 -- their common base has no public name
            continue
        elif op == "batch_norm" or NormLayer(name, module, derived=False).running is not None:
            found[name] = NormLayer(name, module, derived=False)
    # A wrapper that is called a norm because of the one inside it is not counted twice.
    inner = {name for name in found if any(name != other and name.startswith(f"{other}." if other else "") for other in found)}
    return {name: layer for name, layer in found.items() if not (layer.running is None and any(i.startswith(f"{name}.") for i in inner))}


def is_fresh(layers: Mapping[str, NormLayer]) -> bool | None:
    """Whether all running statistics are those of new layers; ``None`` where there are none."""
    running = [layer.running for layer in layers.values()]
    known = [pair for pair in running if pair is not None]
    if not known:
        return None
    return all(bool((mean == 0).all()) and bool((var == 1).all()) for mean, var in known)


@contextmanager
def watching_statistics(layers: Mapping[str, NormLayer]) -> Iterator[dict[str, Statistics]]:
    """Note batch statistics, and running statistics before and after, in every call of the block's passes."""
    found: dict[str, Statistics] = {name: Statistics() for name in layers}
    handles = []
    for name, layer in layers.items():
        handles.append(layer.module.register_forward_pre_hook(_before(layer, found[name])))
        handles.append(layer.module.register_forward_hook(_after(layer, found[name])))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _before(layer: NormLayer, found: Statistics) -> Any:
    def note(_module: nn.Module, args: Any) -> None:
        tensor = next((t for _, t in named_tensors(args) if t.is_floating_point()), None)
        if tensor is None or tensor.ndim < 2 or not tensor.numel():
            return
        axes = [axis for axis in range(tensor.ndim) if axis != 1]
        with torch.no_grad(), torch.autocast(tensor.device.type, enabled=False):
            # Means are taken out first: the variance of values far from zero survives in float32.
            wide = tensor.detach() if tensor.dtype == torch.float64 else tensor.detach().float()
            var, mean = torch.var_mean(wide, axes, correction=0)
        found.means.append(mean.to("cpu", torch.float64))
        found.variances.append(var.to("cpu", torch.float64))
        found.counts.append(tensor.numel() // tensor.shape[1])
        if layer.running is not None:
            found.before.append(_copied(layer.running))

    return note


def _after(layer: NormLayer, found: Statistics) -> Any:
    def note(_module: nn.Module, _args: Any, _output: Any) -> None:
        if layer.running is not None and len(found.after) < len(found.before):
            found.after.append(_copied(layer.running))

    return note


def _copied(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    mean, var = pair
    return mean.detach().to("cpu", torch.float64, copy=True), var.detach().to("cpu", torch.float64, copy=True)


def running_of(layers: Mapping[str, NormLayer]) -> dict[str, tuple[Tensor, Tensor]]:
    """Copies of the running statistics of all layers that keep some, float64 on the CPU."""
    return {name: _copied(layer.running) for name, layer in layers.items() if layer.running is not None}


def follows(found: Statistics) -> tuple[bool | None, float | None]:
    """Whether the running statistics moved towards the batch's in the first call, and by which share of the way (the momentum).

    ``None`` where the layer has no running statistics, did not run, or stood where the batch's are already.
    """
    if not found.after or not found.means:
        return None, None
    (mean, var), (new_mean, new_var) = found.before[0], found.after[0]
    if mean.shape != found.means[0].shape:
        return None, None
    way = torch.cat([found.means[0] - mean, found.variances[0] * _unbiased(found.counts[0]) - var])
    moved = torch.cat([new_mean - mean, new_var - var])
    size = float(way.square().sum())
    if not math.isfinite(size) or size < 1e-12 * max(1.0, float(torch.cat([mean, var]).square().sum())):
        return None, None
    share = float(moved @ way) / size
    # The rest of the movement leads elsewhere: rounding, biased instead of unbiased variance; more than a third is no following.
    aside = float((moved - share * way).norm())
    return share > 1e-7 and aside <= float(moved.norm()) / 3, share


def _as_momentum_says(module: nn.Module, share: float) -> bool:
    """Whether a layer of ``torch`` moves as its momentum says; ``None`` is the mean of all batches so far."""
    momentum = getattr(module, "momentum", None)
    return momentum is None or abs(share - momentum) <= 0.1 * momentum


def _unbiased(count: int) -> float:
    return count / (count - 1) if count > 1 else 1.0


def assign_settled(
    layers: Mapping[str, NormLayer], seen: Mapping[str, Statistics], start: Mapping[str, tuple[Tensor, Tensor]]
) -> list[str]:
    """Give running statistics the values that they go to when passes like those seen go on, and name the layers.

    For ``torch``'s own layers these are the means of the batch means and of the unbiased batch variances. For others, what they were
    seen to do is continued: after ``n`` passes that each go the share ``m`` of the way, ``1 - (1 - m)^n`` of the way lies behind. Layers
    whose statistics do not follow are left alone, a momentum of 0 included.

    Args:
        layers: those that normalize with the batch.
        seen: what :func:`watching_statistics` gave.
        start: running statistics before the first of these passes.

    """
    settled: list[str] = []
    for name, layer in layers.items():
        found, running = seen[name], layer.running
        follow, share = follows(found)
        if running is None or not follow or share is None:
            continue
        if layer.derived and _as_momentum_says(layer.module, share):
            mean = torch.stack(found.means).mean(0)
            scaled = [var * _unbiased(count) for var, count in zip(found.variances, found.counts, strict=True)]
            var = torch.stack(scaled).mean(0)
        else:
            behind = 1 - (1 - min(share, 1.0)) ** len(found.means)
            mean, var = (first + (now.to("cpu", torch.float64) - first) / behind for first, now in zip(start[name], running, strict=True))
            var = var.clamp_min(0.0)
        with torch.no_grad():
            running[0].copy_(mean)
            running[1].copy_(var)
        settled.append(name)
    return settled


def uses_batch(layer: NormLayer) -> tuple[Any, list[bool]]:
    """A forward hook that finds out whether a layer's output depends on other samples, and the list that it writes the answer to.

    The layer runs a second time on its input with half of the batch changed; what that does to its running statistics is undone. One whose
    output does not vary, such as the last of a residual branch that begins at zero, tells nothing by it: ``torch``'s layers use the batch
    in train mode then, and of others nothing is said.
    """
    answers: list[bool] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        if answers or tensor is None or not isinstance(output, Tensor) or not tensor.numel() or tensor.ndim < 2:
            return
        axis = 0 if tensor.shape[0] > 1 else tensor.ndim - 1
        half = tensor.shape[axis] // 2
        if half < 1 or axis == 1:
            return
        changed = tensor.detach().clone()
        changed.narrow(axis, half, tensor.shape[axis] - half).mul_(3.0).add_(tensor.detach().float().std().to(tensor.dtype) + 1.0)
        buffers = {name: held.clone() for name, held in module.named_buffers()}
        again = None
        with suppress(Exception):  # what a layer of the user's does on other values is no failure of the model
            again = module.forward(changed, *args[1:])
        for name, held in module.named_buffers():
            held.copy_(buffers[name])
        if not isinstance(again, Tensor) or again.shape != output.shape:
            return
        mine, other = output.detach().narrow(axis, 0, half).float(), again.detach().narrow(axis, 0, half).float()
        if bool((output.detach().amax(0) == output.detach().amin(0)).all()):
            answers.extend([module.training] if layer.derived else [])
            return
        answers.append(float((mine - other).norm()) > 1e-3 * float(mine.norm()))

    return note, answers


@contextmanager
def watching_gaps(layers: Mapping[str, NormLayer], settled: Mapping[str, tuple[Tensor, Tensor]]) -> Iterator[dict[str, list[float]]]:
    """Compare, in every call of a layer in train mode, its output with what its own eval mode makes of the same input.

    Unlike the outputs of whole passes, nothing adds up from layer to layer. Gaps are relative to the eval output; a layer whose output is
    zero has none. Running statistics are put to the settled ones for it and back.
    """
    found: dict[str, list[float]] = {name: [] for name in layers}
    running: set[str] = set()

    def hook(name: str) -> Any:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            pair = layers[name].running
            if name in running or not isinstance(output, Tensor) or pair is None:
                return
            running.add(name)
            now = _copied(pair)
            flags = {part: part.training for part in module.modules()}
            other = None
            try:
                _put(pair, settled[name])
                for part in flags:
                    part.training = False
                with suppress(Exception):
                    other = module.forward(*args)
            finally:
                running.discard(name)
                for part, flag in flags.items():
                    part.training = flag
                _put(pair, now)
            if not isinstance(other, Tensor) or other.shape != output.shape:
                return
            mine, theirs = output.detach().float(), other.detach().float()
            size = float(theirs.norm())
            if 0 < size < math.inf:
                found[name].append(float((mine - theirs).norm()) / size)

        return note

    handles = [layer.module.register_forward_hook(hook(name)) for name, layer in layers.items() if name in settled]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _put(running: tuple[Tensor, Tensor], values: tuple[Tensor, Tensor]) -> None:
    with torch.no_grad():
        for held, value in zip(running, values, strict=True):
            held.copy_(value)


@contextmanager
def watching_samples(layers: Mapping[str, NormLayer], size: int, first: int) -> Iterator[dict[str, list[Tensor]]]:
    """Note the first samples' values of a batch of ``size``, normalized with the batch's statistics, in every call of a layer.

    Each entry has the shape (channels, positions), at most :data:`MAX_VALUES` values; channels without variance are left out.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in layers}

    def hook(name: str) -> Any:
        def note(module: nn.Module, args: Any) -> None:
            tensor = next((t for _, t in named_tensors(args) if t.is_floating_point()), None)
            if tensor is None or tensor.ndim < 2 or tensor.shape[0] % size:
                return
            wide = tensor.detach() if tensor.dtype == torch.float64 else tensor.detach().float()
            axes = [axis for axis in range(tensor.ndim) if axis != 1]
            var, mean = torch.var_mean(wide, axes, correction=0)
            rows = wide[: tensor.shape[0] // size * first].movedim(1, 0).flatten(1)
            step = max(1, rows.shape[1] * rows.shape[0] // MAX_VALUES)
            rows = rows[:, ::step]
            scale = (var + float(getattr(module, "eps", 0.0) or 0.0)).sqrt().clamp_min(torch.finfo(wide.dtype).tiny)
            values = (rows - mean[:, None]) / scale[:, None]
            found[name].append(values.masked_fill((var <= 0)[:, None], torch.nan).to("cpu", torch.float64))

        return note

    handles = [layer.module.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def sample_noise(passes: list[Tensor]) -> float | None:
    """RMS over values of the standard deviation between passes; ``None`` from fewer than two comparable passes."""
    if len(passes) < 2 or len({values.shape for values in passes}) != 1:
        return None
    spread = torch.stack(passes).var(0, correction=1)
    known = spread[~spread.isnan()]
    return math.sqrt(float(known.mean())) if known.numel() else None


MAX_VALUES = 1 << 14
"""Values of a layer's input that are followed."""


def statistics_noise(found: Statistics, calls: int) -> tuple[float, float] | None:
    """How much batch statistics move between batches, from at least two passes.

    The standard deviation of the batch mean between batches, in standard deviations of the values, and the relative standard deviation
    of the batch variance, both as RMS over channels. Of independent normal values they are ``1 / sqrt(n)`` and ``sqrt(2 / (n - 1))`` for
    batches with ``n`` values per channel. A layer that runs several times in a pass is compared call by call.

    Args:
        found: what :func:`watching_statistics` gave.
        calls: calls per pass.

    Returns:
        Noise of mean and of variance; ``None`` where fewer than two passes or no varying channel were seen.

    """
    if calls < 1 or len(found.means) < 2 * calls or len({mean.shape for mean in found.means}) != 1:
        return None
    mean_noise: list[Tensor] = []
    var_noise: list[Tensor] = []
    for call in range(calls):
        means, variances = torch.stack(found.means[call::calls]), torch.stack(found.variances[call::calls])
        typical = variances.mean(0)
        total = typical + means.var(0, correction=1)
        # Channels that are constant (dead) have no noise, and nothing to relate it to.
        alive = typical > 1e-12 * float(total.mean().clamp_min(1e-300))
        if not bool(alive.any()):
            continue
        mean_noise.append(means.var(0, correction=1)[alive] / total[alive])
        var_noise.append(variances.var(0, correction=1)[alive] / typical[alive].square())
    if not mean_noise:
        return None
    return math.sqrt(float(torch.cat(mean_noise).mean())), math.sqrt(float(torch.cat(var_noise).mean()))
