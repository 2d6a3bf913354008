"""Losses on outputs whose true targets nobody gave: random classes, the input itself, the next token, random values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from normadvisor.probe.running.outputs import Ending
from normadvisor.probe.running.samples import Batch
from normadvisor.probe.running.trees import named_tensors

__all__ = ["MAX_LEARNT", "OWN", "Criterion", "class_loss", "drawn_criterion"]

MAX_LEARNT = 1024
"""Most random target values of a batch that some hundred iterations may be expected to learn."""
BLOCK = 8
"""Random maps of classes are this many cells wide: a network that reads neighbourhoods cannot tell single pixels apart."""
_PRIME = 7_919


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A loss on one output tensor."""

    name: str
    words: str
    compute: Callable[[Tensor, Batch], Tensor]
    classes: int | None = None
    expected: float | None = None
    """Of a model that knows nothing; ``None`` where that is not known."""
    targets: int = 0
    """Target values in a batch."""
    random: bool = True
    """Whether the targets are drawn."""


OWN = Criterion(name="own", words="a loss of the model's own", compute=lambda output, _batch: output)
"""Of an output that is a loss already, such as what balances experts."""


def generator_of(seed: int, batch: Batch, salt: int) -> torch.Generator:
    """Of targets that are the same whenever the same batch comes again."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + batch.key) * _PRIME + salt) % 2**63)


def class_loss(output: Tensor, target: Tensor, ending: Ending) -> Tensor:
    """Cross entropy of outputs with classes along axis 1, whatever the model ends with; in at least float32."""
    wide = output if output.dtype == torch.float64 else output.float()
    if ending is Ending.LOG_SOFTMAX:
        return F.nll_loss(wide, target)
    if ending is Ending.SOFTMAX:
        return F.nll_loss(wide.clamp_min(torch.finfo(wide.dtype).tiny).log(), target)
    return F.cross_entropy(wide, target)


_END = {
    Ending.LOG_SOFTMAX: ", the negative log likelihood of an output that ends with log_softmax",
    Ending.SOFTMAX: ", the negative log likelihood of an output that ends with softmax",
}


def drawn_criterion(
    tensor: Tensor,
    batch: Batch,
    ending: Ending,
    made_by: str | None,
    seed: int,
    *,
    task: str | None,
    vocabularies: frozenset[int] = frozenset(),
) -> Criterion:
    """A loss that fits an output, by its shape, how the model ends, and what its inputs are.

    Args:
        tensor: the output.
        batch: what it was computed from.
        ending: how the model ends.
        made_by: operation of the module that gave the output.
        seed: of the random targets.
        task: what the run context says the model is for.
        vocabularies: sizes of the model's embeddings.

    """
    same = _same_input(tensor, batch)
    if task not in ("classification", "segmentation", "language_model") and same is not None and tensor.ndim > 1:
        return _reconstruction(tensor, ending, same)
    small = _smaller_input(tensor, batch)
    if task not in ("classification", "segmentation") and small is not None:
        return _enlargement(tensor, ending, small)
    ids = _token_ids(tensor, batch)
    if ids is not None and (ending in (Ending.LINEAR, Ending.LOG_SOFTMAX, Ending.SOFTMAX) or tensor.shape[2] in vocabularies):
        return _next_token(tensor, ending, ids)
    if ending is Ending.OTHER and _as_large_as_the_image(tensor, batch):
        ending = Ending.LINEAR  # a segmentation network ends with resizing its scores
    axis = _class_axis(tensor, made_by)
    if task in ("regression", "rl", "generation"):
        return _regression(tensor, ending, seed)
    if (
        axis is not None
        and tensor.shape[axis] > 1
        and (ending in (Ending.LINEAR, Ending.LOG_SOFTMAX, Ending.SOFTMAX) or task in ("classification", "segmentation"))
    ):
        return _random_classes(tensor, ending, axis, seed)
    binary = tensor.ndim in (1, 2, 4) and (tensor.ndim == 1 or tensor.shape[1] == 1)
    if ending is Ending.SIGMOID and (binary or tensor.ndim == 2):
        return _binary(tensor, ending, seed)
    if binary and tensor.ndim == 4 and ending is Ending.LINEAR:
        return _binary(tensor, ending, seed)
    return _regression(tensor, ending, seed)


def _class_axis(tensor: Tensor, made_by: str | None) -> int | None:
    """Axis of classes: the second of vectors and maps, the last of sequences that a linear layer gave."""
    if tensor.ndim in (2, 4, 5):
        return 1
    if tensor.ndim == 3:
        return 1 if made_by in ("conv", "conv_transpose") else 2
    return None


def _as_large_as_the_image(tensor: Tensor, batch: Batch) -> bool:
    """Whether an output has as many pixels as an input image, and other channels."""
    if tensor.ndim != 4:
        return False
    images = [value for _, value in named_tensors((batch.args, dict(batch.kwargs))) if value.ndim == 4 and value.is_floating_point()]
    return any(image.shape[2:] == tensor.shape[2:] and image.shape[1] != tensor.shape[1] for image in images)


def _same_input(tensor: Tensor, batch: Batch) -> str | None:
    """Path of a real input of the output's shape."""
    for name, value in named_tensors({**{str(i): arg for i, arg in enumerate(batch.args)}, **batch.kwargs}):
        if value.is_floating_point() and value.shape == tensor.shape:
            return name
    return None


def _smaller_input(tensor: Tensor, batch: Batch) -> str | None:
    """Path of an input image of the output's channels that the output is an enlargement of."""
    if tensor.ndim != 4:
        return None
    for name, value in named_tensors({**{str(i): arg for i, arg in enumerate(batch.args)}, **batch.kwargs}):
        if value.ndim == 4 and value.is_floating_point() and value.shape[:2] == tensor.shape[:2]:
            factors = {large / small for large, small in zip(tensor.shape[2:], value.shape[2:], strict=True)}
            if len(factors) == 1 and min(factors) > 1:
                return name
    return None


def _token_ids(tensor: Tensor, batch: Batch) -> str | None:
    """Path of the ids that an output of shape (samples, steps, vocabulary) scores."""
    if tensor.ndim != 3 or tensor.shape[1] < 2:
        return None
    for name, value in named_tensors({**{str(i): arg for i, arg in enumerate(batch.args)}, **batch.kwargs}):
        ids = not value.is_floating_point() and not value.is_complex() and value.dtype is not torch.bool and "mask" not in name
        if ids and value.shape == tensor.shape[:2] and 1 < int(value.max()) < tensor.shape[2] and int(value.min()) >= 0:
            return name
    return None


def _input(batch: Batch, name: str) -> Tensor:
    found = dict(named_tensors({**{str(i): arg for i, arg in enumerate(batch.args)}, **batch.kwargs}))
    return found[name].detach()


def _reconstruction(tensor: Tensor, ending: Ending, name: str) -> Criterion:
    def compute(output: Tensor, batch: Batch) -> Tensor:
        return F.mse_loss(_wide(output), _fitted(_wide(_input(batch, name)), ending))

    return Criterion(
        name="mse", words="mean squared error to the input, because the output has the input's shape", compute=compute, random=False,
        targets=tensor.numel(),
    )  # fmt: skip


def _enlargement(tensor: Tensor, ending: Ending, name: str) -> Criterion:
    def compute(output: Tensor, batch: Batch) -> Tensor:
        small = _wide(_input(batch, name))
        return F.mse_loss(_wide(output), _fitted(F.interpolate(small, output.shape[2:], mode="bilinear", align_corners=False), ending))

    return Criterion(
        name="mse", words="mean squared error to the enlarged input, because the output has its channels and more pixels", compute=compute,
        random=False, targets=tensor.numel(),
    )  # fmt: skip


def _fitted(values: Tensor, ending: Ending) -> Tensor:
    """Values squeezed into the range that a bounded output reaches, where they leave it."""
    if ending is Ending.SIGMOID and (float(values.min()) < 0 or float(values.max()) > 1):
        squeezed: Tensor = torch.special.ndtr(values)
        return squeezed
    if ending is Ending.TANH and float(values.abs().max()) > 1:
        bounded: Tensor = 2 * torch.special.ndtr(values) - 1
        return bounded
    return values


def _next_token(tensor: Tensor, ending: Ending, name: str) -> Criterion:
    classes = int(tensor.shape[2])

    def compute(output: Tensor, batch: Batch) -> Tensor:
        ids = _input(batch, name)
        return class_loss(output[:, :-1].flatten(0, 1), ids[:, 1:].flatten().long(), ending)

    return Criterion(
        name="cross_entropy",
        words=f"cross entropy of the next of the input's tokens among {classes}{_END.get(ending, '')}",
        compute=compute,
        classes=classes,
        expected=math.log(classes),
        targets=tensor.shape[0] * (tensor.shape[1] - 1),
    )


def _random_classes(tensor: Tensor, ending: Ending, axis: int, seed: int) -> Criterion:
    classes = int(tensor.shape[axis])

    def compute(output: Tensor, batch: Batch) -> Tensor:
        scores = output.movedim(axis, 1)
        shape = (scores.shape[0], *scores.shape[2:])
        target = _drawn_classes(shape, classes, generator_of(seed, batch, 1)).to(scores.device)
        return class_loss(scores, target, ending)

    where = {2: "", 3: ", one for each position", 4: ", drawn as maps", 5: ", drawn as maps"}[tensor.ndim]
    return Criterion(
        name="cross_entropy", words=f"cross entropy on {classes} random classes{where}{_END.get(ending, '')}", compute=compute,
        classes=classes, expected=math.log(classes), targets=tensor.numel() // classes,
    )  # fmt: skip


def _drawn_classes(shape: tuple[int, ...], classes: int, generator: torch.Generator) -> Tensor:
    if len(shape) < 3:
        return torch.randint(0, classes, shape, generator=generator)
    coarse = (shape[0], *(-(-size // BLOCK) for size in shape[1:]))
    target = torch.randint(0, classes, coarse, generator=generator)
    for axis, size in enumerate(shape[1:], 1):
        target = target.repeat_interleave(BLOCK, axis).narrow(axis, 0, size)
    return target


def _binary(tensor: Tensor, ending: Ending, seed: int) -> Criterion:
    def compute(output: Tensor, batch: Batch) -> Tensor:
        wide = _wide(output)
        coarse = wide.shape if wide.ndim < 3 else (wide.shape[0], wide.shape[1], *(-(-size // BLOCK) for size in wide.shape[2:]))
        target = torch.randint(0, 2, coarse, generator=generator_of(seed, batch, 2))
        for axis, size in enumerate(wide.shape[2:], 2):
            target = target.repeat_interleave(BLOCK, axis).narrow(axis, 0, size)
        target = target.to(wide.device, wide.dtype)
        if ending is Ending.SIGMOID:
            return F.binary_cross_entropy(wide, target)
        return F.binary_cross_entropy_with_logits(wide, target)

    ends = "ends with sigmoid" if ending is Ending.SIGMOID else "is one map of scores"
    return Criterion(
        name="bce" if ending is Ending.SIGMOID else "bce_with_logits",
        words=f"binary cross entropy on random labels, because the output {ends}", compute=compute, classes=2, expected=math.log(2),
        targets=tensor.numel(),
    )  # fmt: skip


def _regression(tensor: Tensor, ending: Ending, seed: int) -> Criterion:
    def compute(output: Tensor, batch: Batch) -> Tensor:
        wide = _wide(torch.view_as_real(output) if output.is_complex() else output)
        target = torch.randn(wide.shape, generator=generator_of(seed, batch, 3)).to(wide.device, wide.dtype)
        target = _fitted(target, ending)
        if _masked(wide):
            known = torch.isfinite(wide.detach())
            return F.mse_loss(wide[known], target[known])
        return F.mse_loss(wide, target)

    shape = "x".join(map(str, tensor.shape))
    return Criterion(name="mse", words=f"mean squared error to random values of shape {shape}", compute=compute, targets=tensor.numel())


def _masked(values: Tensor) -> bool:
    """Whether an output marks positions with minus infinity, rather than having gone wrong."""
    bad = ~torch.isfinite(values.detach())
    return bool(bad.any()) and bool((values.detach()[bad] == -math.inf).all()) and not bool(bad.all())


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
