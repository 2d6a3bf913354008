"""A model made ready: copied, on its device, in its dtype, in the mode it is optimized for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from normadvisor.errors import UsageError
from normadvisor.graph import trace
from normadvisor.graph.values import map_tensors
from normadvisor.optimization.candidate import Setting
from normadvisor.rewrite.proof.copies import held
from normadvisor.rewrite.proof.words import told
from normadvisor.types import TraceKind

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph
    from normadvisor.graph.trace import GivenInputs
    from normadvisor.types import Site
    from normadvisor.types.optimization import OptimizeOptions

__all__ = ["Given", "Subject", "copied", "prepared", "traced"]


@dataclass(frozen=True, slots=True)
class Given:
    """Arguments of ``forward``, and whether the user gave them."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    given: bool = True
    spec: str = ""
    """As ``--input`` would say them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model to optimize, and what is known about it."""

    model: nn.Module
    """On the device it is to run on."""
    inputs: GivenInputs
    """With values."""
    target: str
    """How it is called in the report."""
    spec: str = ""
    """The inputs as ``--input`` would say them."""
    sites: Mapping[str, Site] = field(default_factory=dict)
    """Where modules were constructed, by qualified name."""
    defined_at: Site | None = None


def prepared(subject: Subject, options: OptimizeOptions) -> tuple[nn.Module, Setting]:
    """A copy of the model as it is to run, and the setting; the model itself stays as it is.

    Raises:
        UsageError: it cannot be copied, is compiled, or its weights have no values.

    """
    model = subject.model
    _refuse(model)
    dtype = _dtype(model) if options.dtype is None else getattr(torch, options.dtype)
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    converted = options.dtype is not None and dtype != _dtype(model)
    if converted and options.mode == "training":
        hint = "convert the model first, and build its optimizer after that; --dtype is for inference"
        raise UsageError("a model that trains keeps its dtype, which its optimizer relies on", hint=hint)
    base = copied(model)
    if converted:
        base = base.to(dtype)
    if options.mode == "inference":
        base.eval()
    elif not base.training:
        base.train()

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        wanted = dtype if converted and tensor.is_floating_point() else tensor.dtype
        return (tensor.clone() if tensor.is_inference() else tensor.detach()).to(device, wanted)

    args, kwargs = map_tensors(tuple(subject.inputs.args), placed), map_tensors(dict(subject.inputs.kwargs), placed)
    inputs = Given(args, kwargs, subject.inputs.given, subject.spec)
    return base, Setting(mode=options.mode, device=device, dtype=dtype, inputs=inputs)


def copied(model: nn.Module) -> nn.Module:
    """A copy that shares nothing.

    What was computed from parameters (the weight of ``torch.nn.utils.weight_norm``) is computed anew before it is used; until then the
    copy has its values alone, since torch copies no tensor with a history.

    Raises:
        UsageError: a part of it cannot be copied.

    """
    memo: dict[int, Any] = {id(tensor): tensor.detach().clone() for _, tensor in held(model) if not tensor.is_leaf}
    try:
        found: nn.Module = copy.deepcopy(model, memo)
    except Exception as error:
        message = f"{type(model).__name__} cannot be copied, and is optimized on copies only: {told(error)}"
        raise UsageError(message, hint="copy.deepcopy(model) has to work") from error
    return found


def _refuse(model: nn.Module) -> None:
    if hasattr(model, "_orig_mod"):
        raise UsageError("the model is compiled", hint="optimize the model first, then hand it to torch.compile")
    held = (*model.parameters(), *model.buffers())
    if any(is_lazy(tensor) for tensor in held):
        raise UsageError("the model has lazy layers, whose weights have no shape yet", hint="run it once first")
    if any(tensor.is_meta for tensor in held):
        raise UsageError("weights of the model are on the meta device, where they have no values", hint="build it in real memory")


def _dtype(model: nn.Module) -> torch.dtype:
    """That of most floating weights."""
    counts: dict[torch.dtype, int] = {}
    for tensor in model.parameters():
        if tensor.is_floating_point():
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.numel()
    return max(counts, key=lambda dtype: counts[dtype], default=torch.get_default_dtype())


def traced(model: nn.Module, subject: Subject, setting: Setting) -> ModelGraph:
    """The graph of a model as it is now, in the mode it is optimized for.

    A forward that was rewritten serves tensors alone, and leaves proxies to the one before; so such models are followed by running them.

    Raises:
        TraceError: it cannot be followed.

    """
    rewritten = any("_normadvisor_text" in vars(type(module)) for module in model.modules())
    mode = "eval" if setting.mode == "inference" else "train"
    given = Given(tuple(setting.inputs.args), dict(setting.inputs.kwargs), subject.inputs.given)
    return trace(
        model, given, target=subject.target, sites=subject.sites, defined_at=subject.defined_at, mode=mode,
        tracer=TraceKind.EXECUTION if rewritten else None,
    )  # fmt: skip
