"""The loss of a probe: the user's, the model's own, or one that fits its outputs; always with the reason it was chosen."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normadvisor.errors import ProbeError, UsageError
from normadvisor.probe.running.class_counts import class_counts
from normadvisor.probe.running.criteria import MAX_LEARNT, OWN, Criterion, class_loss, drawn_criterion
from normadvisor.probe.running.mean_loss import recognised_classes
from normadvisor.probe.running.outputs import Ending, Makers, ending_of, leads_to, loss_in, losses_in, primary
from normadvisor.probe.running.samples import Batch
from normadvisor.probe.running.scalars import computed_loss, is_loss, one_number
from normadvisor.probe.running.trees import float_tensors, named_tensors
from normadvisor.types import LOSSES

__all__ = ["Loss", "choose_loss", "given_loss"]

AUXILIARY = 0.4
"""Weight of further outputs of the main one's shape, as of auxiliary classifiers (Szegedy et al., 2015, take 0.3, torchvision 0.4)."""
OTHER = 0.1
"""Weight of other outputs: every head gets a gradient, and none outweighs the main one."""
_BATCH_NAMES = frozenset(("batch", "data", "sample", "samples", "inputs", "batch_data", "whole"))
_MODEL_NAMES = frozenset(("model", "net", "network", "module"))
_CLASS_MODULES = (nn.CrossEntropyLoss, nn.NLLLoss)
_CLASS_FUNCTIONS = (F.cross_entropy, F.nll_loss)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Computes the loss of a batch."""

    name: str
    words: str
    """What it is and why it was chosen."""
    compute: Callable[[Any, Batch], Any]
    """From an output and its batch; from the model and its batch where ``takes_model``."""
    takes_model: bool = False
    classes: int | None = None
    expected: float | None = None
    """Of a model that knows nothing; ``None`` where that is not known."""
    unlearnable: str = ""
    """Why training on one batch says nothing; empty where it does."""

    def of(self, output: Any, batch: Batch) -> Tensor:
        """The loss as one number.

        Raises:
            ProbeError: it gives something else.

        """
        return one_number(self.compute(output, batch), self.name)


def given_loss(function: Callable[..., Any], model: nn.Module) -> Loss:
    """The user's loss, called as its signature asks.

    A ``torch`` criterion (module or function) gets the output and the batch's target. Of other functions the name of the second
    argument decides: ``batch``, ``data``, ``sample`` or ``inputs`` get the whole batch, everything else the target where the batch
    has one. A first argument named ``model`` or ``net`` gets the model itself, a function of one argument only the output.
    """
    name = getattr(function, "__name__", None) or type(function).__name__
    criterion = isinstance(function, nn.Module) or getattr(function, "__module__", "").startswith("torch.nn")
    parameters = _positional(function.forward if isinstance(function, nn.Module) else function)
    first = parameters[0].lower() if parameters else ""
    if first in _MODEL_NAMES and len(parameters) > 1:
        run: Callable[[Any, Batch], Any] = lambda held, batch: function(held, _whole(batch))  # noqa: E731
        return Loss(name=name, words=f"{name}(model, batch), given", compute=run, takes_model=True)
    if len(parameters) == 1:
        return Loss(name=name, words=f"{name}(output), given", compute=lambda output, _batch: function(output))
    wants_batch = not criterion and len(parameters) > 1 and parameters[1].lower() in _BATCH_NAMES

    def compute(output: Any, batch: Batch) -> Any:
        if wants_batch or (batch.target is None and not criterion):
            return function(output, _whole(batch))
        chosen = output
        if criterion and not isinstance(output, Tensor) and (found := primary(output)) is not None:
            chosen = found[1]
        return function(chosen, _target(batch, chosen, name))

    del model
    form = "batch" if wants_batch else "target"
    return Loss(name=name, words=f"{name}(output, {form}), given", compute=compute)


def _positional(function: Any) -> list[str]:
    """Names of the arguments that can be given by position and have no default, and the one after them; empty if unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.kind in kinds]
    required = [p.name for p in parameters if p.kind in kinds and p.default is p.empty]
    return names if len(required) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters) else required


def _whole(batch: Batch) -> Any:
    if batch.whole is not None:
        return batch.whole
    if batch.kwargs and not batch.args:
        return dict(batch.kwargs)
    return batch.args[0] if len(batch.args) == 1 else batch.args


def _target(batch: Batch, output: Any, name: str) -> Any:
    if batch.target is not None:
        return batch.target
    for _, value in named_tensors((batch.args, dict(batch.kwargs))):
        if isinstance(output, Tensor) and value.is_floating_point() and value.shape == output.shape:
            return value  # an autoencoder: the input is the target
    message = f"the loss {name} needs a target, and the batches hold none"
    raise ProbeError(message, hint="give batches of (input, target), or a loss of the output and the whole batch")


def choose_loss(  # noqa: PLR0913 -- everything that a loss may be chosen by
    output: Any,
    batch: Batch,
    makers: Makers,
    model: nn.Module,
    *,
    named: str | None,
    task: str | None,
    seed: int,
    real: bool,
    last_op: str | None = None,
) -> Loss:
    """The loss for a model whose user gave no function.

    In this order: the loss that the model returns; the losses that a detector returns; the one ``named``; a number that the model
    computes; the one that fits the target of a real batch; the one that fits the output.

    Args:
        output: of a forward pass in train mode on ``batch``.
        batch: its batch.
        makers: which module made which tensor of that pass.
        model: named in errors.
        named: one of :data:`normadvisor.types.LOSSES`.
        task: one of :data:`normadvisor.types.TASKS`.
        seed: of random targets.
        real: whether the batch came from the user.
        last_op: canonical operation that gives the main output, where a graph tells.

    Raises:
        ProbeError, UsageError: no loss fits.

    """
    if loss_in(output) is not None:
        return replace(_own_loss(output, batch), unlearnable="" if real else _random_words(batch))
    if (losses := losses_in(output)) is not None:
        words = f"the sum of the losses that the model returns in train mode ({', '.join(losses)})"
        unlearnable = "" if real else "its targets are made up"
        return Loss(name="losses", words=words, compute=lambda held, _batch: sum((losses_in(held) or {}).values()), unlearnable=unlearnable)
    found = primary(output)
    if found is None:
        message = f"{type(model).__name__} returned no tensor of real numbers, so there is nothing to compute a loss of"
        raise ProbeError(message, hint="give a loss of the output: --loss module:function")
    main, tensor = found
    made_by = makers.op_of(tensor) or last_op
    if named is not None and named != "none":
        return _named_loss(named, tensor, batch, seed)
    if (paths := computed_loss(output)) is not None:
        return _computed_loss(paths)
    if real and batch.target is not None:
        return _fitting_loss(tensor, batch, ending_of(tensor, made_by, 1), model)
    return _drawn_loss(output, main, batch, makers, seed=seed, task=task, made_by=made_by, model=model)


def _random_words(batch: Batch) -> str:
    targets = max((tensor.numel() for _, tensor in named_tensors(dict(batch.kwargs))), default=0)
    return "" if targets <= MAX_LEARNT else "its random targets are more than some iterations can learn"


def _own_loss(output: Any, batch: Batch) -> Loss:
    """The loss that the model computes itself; its classes where it is the cross entropy of its logits."""
    loss = Loss(name="output.loss", words="the loss that the model returns", compute=lambda held, _batch: loss_in(held))
    value, found = loss_in(output), primary(output)
    labels = next((item for name, item in batch.kwargs.items() if "label" in name and isinstance(item, Tensor)), None)
    if value is None or found is None or labels is None or labels.is_floating_point():
        return loss
    classes = recognised_classes(value, found[1], labels)
    return replace(loss, classes=classes, expected=math.log(classes)) if classes else loss


def _computed_loss(paths: list[str]) -> Loss:
    def compute(output: Any, _batch: Batch) -> Tensor:
        found = dict(float_tensors(output))
        if not found.keys() >= set(paths):
            raise ProbeError("the outputs have other names in this step than before, so the loss is not among them")
        return torch.stack([found[path].float() for path in paths]).sum()

    words = "the number that the model returns" if len(paths) == 1 else f"the sum of the {len(paths)} numbers that the model returns"
    unlearnable = "the model computes its loss itself, and how small that can get is not known"
    return Loss(name="output", words=f"{words}, taken for its loss", compute=compute, unlearnable=unlearnable)


def _named_loss(name: str, tensor: Tensor, batch: Batch, seed: int) -> Loss:
    """A loss by its name in the run context, on real targets or on drawn ones."""
    if name not in LOSSES:
        message = f"unknown loss {name!r}"
        raise UsageError(message, hint=f"one of {', '.join(LOSSES)}, or module:function")
    if name == "gaussian_nll":
        message = "the loss gaussian_nll needs to know which outputs are means and which are variances"
        raise UsageError(message, hint="give a function of the output and the batch: --loss module:function")
    ending = {"nll": Ending.LOG_SOFTMAX, "bce": Ending.SIGMOID}.get(name, Ending.LINEAR)
    if name == "bce" and (float(tensor.detach().min()) < 0 or float(tensor.detach().max()) > 1):
        message = "the loss bce needs outputs between 0 and 1, and the model's leave that range"
        raise UsageError(message, hint="use bce_with_logits, or end the model with a sigmoid")
    if batch.target is None:
        return _named_drawn(name, tensor, batch, ending, seed)
    function = _FUNCTIONS[name]
    target = batch.target
    classes = int(tensor.shape[1]) if name in ("cross_entropy", "nll") and tensor.ndim > 1 else 2 if name.startswith("bce") else None
    if name in ("cross_entropy", "nll") and isinstance(target, Tensor) and tensor.ndim == 3 and target.shape == tensor.shape[:2]:
        classes = int(tensor.shape[2])
    loss = given_loss(function, nn.Identity())
    return Loss(
        name=name, words=f"{name}, as asked for, with the targets of the data", classes=classes,
        expected=math.log(classes) if classes else None, compute=lambda output, held: loss.compute(*_aligned(output, held, name)),
    )  # fmt: skip


def _aligned(output: Any, batch: Batch, name: str) -> tuple[Tensor, Batch]:
    """Output and target as the function wants them: classes along axis 1, one value beside one, real targets of binary losses."""
    found = primary(output)
    if found is None or not isinstance(batch.target, Tensor):
        return output, batch
    tensor, target = found[1], batch.target
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    if name in ("cross_entropy", "nll"):
        if tensor.ndim == 3 and target.shape == tensor.shape[:2]:
            return tensor.flatten(0, 1), batch.replaced(target=target.flatten())
        squeezed = target.ndim == tensor.ndim and target.shape[1] == 1 and not target.is_floating_point()
        return tensor, batch.replaced(target=target.squeeze(1) if squeezed else target)
    if target.shape != tensor.shape and target.numel() == tensor.numel():
        target = target.reshape(tensor.shape)
    return tensor, batch.replaced(target=target.to(tensor.dtype))


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": F.cross_entropy, "nll": F.nll_loss, "bce": F.binary_cross_entropy,
    "bce_with_logits": F.binary_cross_entropy_with_logits, "mse": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss,
}  # fmt: skip


def _named_drawn(name: str, tensor: Tensor, batch: Batch, ending: Ending, seed: int) -> Loss:
    task = "classification" if name in ("cross_entropy", "nll") else "regression"
    if name.startswith("bce"):
        if tensor.ndim not in (1, 2) and not (tensor.ndim == 4 and tensor.shape[1] == 1):
            message = f"the loss {name} does not fit an output of shape {'x'.join(map(str, tensor.shape))}"
            raise UsageError(message, hint="give a function of the output and the batch: --loss module:function")
        criterion = drawn_criterion(tensor, Batch(key=batch.key), Ending.SIGMOID, None, seed, task=None)
        if name == "bce_with_logits":
            criterion = replace(criterion, name=name, words="binary cross entropy on random labels", compute=_with_logits(seed))
    else:
        criterion = drawn_criterion(tensor, batch, ending, None, seed, task=task)
    if name in ("l1", "huber"):
        criterion = replace(criterion, name=name, compute=_distance(name, seed), words=f"{name} to random values")
    found = _of_criterion(criterion)
    return replace(found, name=name, words=f"{name}, as asked for: {criterion.words}")


def _with_logits(seed: int) -> Callable[[Tensor, Batch], Tensor]:
    def compute(output: Tensor, batch: Batch) -> Tensor:
        wide = output if output.dtype == torch.float64 else output.float()
        generator = torch.Generator().manual_seed((seed * 1_000_003 + batch.key) % 2**63)
        target = torch.randint(0, 2, wide.shape, generator=generator).to(wide.device, wide.dtype)
        return F.binary_cross_entropy_with_logits(wide, target)

    return compute


def _distance(name: str, seed: int) -> Callable[[Tensor, Batch], Tensor]:
    def compute(output: Tensor, batch: Batch) -> Tensor:
        wide = output if output.dtype == torch.float64 else output.float()
        generator = torch.Generator().manual_seed((seed * 1_000_003 + batch.key) % 2**63)
        return _FUNCTIONS[name](wide, torch.randn(wide.shape, generator=generator).to(wide.device, wide.dtype))

    return compute


def _of_criterion(criterion: Criterion) -> Loss:
    def compute(output: Any, batch: Batch) -> Tensor:
        found = primary(output)
        if found is None:
            raise ProbeError("the output holds no tensor of real numbers in this step, unlike before")
        return criterion.compute(found[1], batch)

    return Loss(
        name=criterion.name, words=criterion.words, compute=compute, classes=criterion.classes, expected=criterion.expected,
        unlearnable=_unlearnable(criterion),
    )  # fmt: skip


def _unlearnable(criterion: Criterion) -> str:
    if not criterion.random:
        return "the inputs are random, and a bottleneck may well hold less than they do"
    if criterion.targets > MAX_LEARNT:
        return f"{criterion.targets} random target values are more than some iterations can learn"
    return ""


def _fitting_loss(tensor: Tensor, batch: Batch, ending: Ending, model: nn.Module) -> Loss:
    """The loss that output and target of a real batch ask for."""
    target = batch.target
    if isinstance(target, Tensor):
        whole_numbers = not target.is_floating_point() and not target.is_complex()
        squeezed = target.ndim == tensor.ndim and target.ndim > 1 and target.shape[1] == 1
        if whole_numbers and tensor.ndim > 1 and (target.ndim == tensor.ndim - 1 or squeezed) and target.shape != tensor.shape:
            name = "nll" if ending is Ending.LOG_SOFTMAX else "cross_entropy"
            found = _named_loss(name, tensor, batch, 0)
            if ending is Ending.SOFTMAX:
                compute = lambda output, held: class_loss(*_scores(*_aligned(output, held, "cross_entropy")), ending)  # noqa: E731
                found = replace(found, name="nll", compute=compute)
            return replace(found, words=f"{found.name}, because the targets of the data are classes and there are {found.classes} outputs")
        if target.numel() == tensor.numel():
            binary = bool(((target == 0) | (target == 1)).all())
            name = "bce" if binary and ending is Ending.SIGMOID else "bce_with_logits" if binary and ending is Ending.LINEAR else "mse"
            found = _named_loss(name, tensor, batch, 0)
            return replace(found, words=f"{name}, because the targets of the data are {'zeros and ones' if binary else 'real numbers'}")
    shapes = " and ".join("x".join(map(str, value.shape)) for _, value in named_tensors(target)) or type(target).__name__
    message = f"no loss fits the output of {type(model).__name__} ({'x'.join(map(str, tensor.shape))}) and the data's target ({shapes})"
    raise ProbeError(message, hint="give it: --loss cross_entropy, or --loss module:function")


def _more_outputs(count: int) -> str:
    return "1 more output is" if count == 1 else f"{count} more outputs are"


def _scores(output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    return output, batch.target


def _drawn_loss(
    output: Any,
    main: str,
    batch: Batch,
    makers: Makers,
    *,
    seed: int,
    task: str | None,
    made_by: str | None,
    model: nn.Module,
) -> Loss:
    """Losses on all outputs that no other comes from, those beside the main one with less weight."""
    tensors = dict(float_tensors(output))
    head = tensors[main]
    axis = 1 if head.ndim in (2, 4, 5) or made_by in ("conv", "conv_transpose") else -1
    vocabularies = frozenset(held.num_embeddings for held in model.modules() if isinstance(held, nn.Embedding))
    ending = ending_of(head, made_by, axis)
    if ending is Ending.OTHER and head.ndim == 2 and head.shape[1] in class_counts(model):
        ending = Ending.LINEAR  # scores that are made otherwise, such as scaled cosines
    first = drawn_criterion(head, batch, ending, made_by, seed, task=task, vocabularies=vocabularies)
    parts: dict[str, tuple[float, Criterion]] = {main: (1.0, first)}
    inside = dict(zip(tensors, leads_to(head, list(tensors.values())), strict=True))
    for index, (name, tensor) in enumerate(tensors.items()):
        if name == main or not tensor.requires_grad or inside[name]:
            continue  # hidden states that the main output is made from need no loss of their own
        if tensor.ndim == 0:
            if is_loss(tensor):
                parts[name] = (1.0, OWN)
        elif tensor.shape == head.shape:
            parts[name] = (AUXILIARY, first)
        else:
            made = makers.op_of(tensor)
            other = drawn_criterion(tensor, Batch(key=batch.key), ending_of(tensor, made, -1), made, seed + index, task="regression")
            parts[name] = (OTHER, other)

    def compute(held: Any, given: Batch) -> Tensor:
        found = dict(float_tensors(held))
        losses = [weight * part.compute(found[name], given) for name, (weight, part) in parts.items() if name in found]
        if not losses:
            raise ProbeError("the outputs have other names in this step than before, so the loss does not fit them")
        total = losses[0]
        for loss in losses[1:]:
            total = total + loss
        return total

    known = all(part.expected is not None for _, part in parts.values())
    expected = sum(weight * (part.expected or 0.0) for weight, part in parts.values()) if known else None
    numbers = sum(part is OWN for _, part in parts.values())
    more = f"; {_more_outputs(len(parts) - 1 - numbers)} in it with less weight" if len(parts) > 1 + numbers else ""
    more += "; what the model returns as one number is added as it is" if numbers else ""
    unlearnable = next((words for _, part in parts.values() if (words := _unlearnable(part))), "")
    return Loss(
        name=first.name,
        words=f"{first.words}{more}",
        compute=compute,
        classes=first.classes,
        expected=expected,
        unlearnable=unlearnable,
    )
