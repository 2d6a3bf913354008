"""A norm folded into the layers beside it: the change of a live model, and the operations alone for measuring."""

from __future__ import annotations

import copy
import operator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from normadvisor.graph.canonical import module_op
from normadvisor.graph.model import NodeInfo
from normadvisor.optimization.candidate import Candidate, Kernel, Setting, StateStep
from normadvisor.optimization.folding.channels import Laid, encode
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.layers import Layer
from normadvisor.optimization.folding.live import Held, Live, chained
from normadvisor.optimization.folding.scaling import ROLES, Affine
from normadvisor.optimization.folding.search import Fold, Share
from normadvisor.optimization.folding.unrun import Point
from normadvisor.optimization.forward import drop_unused
from normadvisor.rewrite.model.journal import Journal

__all__ = ["candidate", "fold_into", "spelled"]

RULE = "NA701"


def candidate(flow: Flow, fold: Fold, setting: Setting) -> Candidate:
    """The fold as something that can be measured and kept."""
    layers = list(dict.fromkeys(spelled(flow, share.layer) for share in fold.shares))
    several = "several " if len(fold.shares) > 1 else ""
    told, what = f"{several}{' and '.join(layers)}", fold.affine.what.replace("affine", "scale")
    return Candidate(
        rule=RULE,
        pattern=f"{told} + {what}" if fold.kind == "behind" else f"{what} + {told}",
        replacement=told,
        modules=(*(share.layer.name for share in fold.shares), fold.affine.told),
        shape_key=" | ".join(_shape_key(flow, share, setting) for share in fold.shares),
        apply=lambda model, journal: fold_into(model, journal, fold),
        remark=_remark(flow, fold),
        kernel=_kernel(flow, fold, setting),
    )


def _remark(flow: Flow, fold: Fold) -> str:
    """Which part of the model gives something else by itself afterwards."""
    norm = Point(fold.affine.name, fold.affine.inline)
    for share in fold.shares:
        layer = Point(share.layer.name, share.layer.inline)
        part = flow.unrun.border(*((layer, norm) if fold.kind == "behind" else (norm, layer)))
        if part:
            where = "its norm" if fold.kind == "ahead" else "the norm behind it"
            return f"{part} by itself gives something else afterwards: {where} is in {share.layer.name}"
    return ""


def spelled(flow: Flow, layer: Layer) -> str:
    """``conv2d``, ``conv_transpose1d``, ``linear``."""
    module: Any = flow.modules[layer.name]
    return layer.kind if layer.kind == "linear" else f"{layer.kind}{getattr(module, layer.weight).dim() - 2}d"


def _shape_key(flow: Flow, share: Share, setting: Setting) -> str:
    node, module = flow.graph.nodes[share.call], flow.modules[share.layer.name]
    settings = [f"{name}={value}" for name in ("stride", "padding", "dilation", "groups") if (value := node.attrs.get(name)) is not None]
    held = getattr(module, share.layer.weight, None)
    weight = tuple(held.shape) if isinstance(held, torch.Tensor) else ()
    told = [spelled(flow, share.layer), f"{node.in_shape}", f"{weight}", *settings, f"bias={share.layer.has_bias}", str(setting.dtype)]
    return " ".join(told)


def fold_into(model: nn.Module, journal: Journal, fold: Fold) -> tuple[StateStep, ...]:
    """Change a model; modules are found by their names.

    Raises:
        CannotChange: a layer is no longer there, or the numbers cannot be folded; nothing has been changed.

    """
    own = Journal()
    try:
        steps = _folded(Live(model, own), fold)
    except BaseException:
        own.undo()
        raise
    journal.did(own.undo)
    return steps


def _folded(live: Live, fold: Fold) -> tuple[StateStep, ...]:
    affine = fold.affine
    for key in affine.roles.values():
        live.tensor(key)
    steps = [_step(live, fold, share) for share in fold.shares]
    made = live.ready(steps)
    dropped = tuple(key for attribute in _numbers(live, affine) for key in live.keys(affine.name, attribute))
    if affine.inline is None:
        norm = live.module(affine.name)
        live.put(affine.name, chained([(key, norm.get_submodule(key)) for key in affine.rest]))
    for share, values in zip(fold.shares, made, strict=True):
        live.write(values)
        if share.layer.inline is not None and f"{share.layer.name}.{share.layer.bias}".lstrip(".") in values:
            live.edit(share.layer.inline, partial(_with_bias, key=_below(share.layer)))
    if affine.inline is not None:
        live.edit(affine.inline, _without)
        for key in dropped:
            live.drop(key)
    return (*steps, StateStep(kind="drop", into=(), sources=(), dropped=dropped))


def _numbers(live: Live, affine: Affine) -> list[str]:
    """Names of everything that leaves the state with the norm, in its module."""
    module = live.module(affine.name)
    if affine.inline is None:
        return [name for name, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))]
    names = [key.rpartition(".")[2] for key in affine.roles.values()]
    if isinstance(module, _BatchNorm):  # It stays, and looks for its counter whenever a state is loaded.
        return names
    return [*names, *(("num_batches_tracked",) if isinstance(getattr(module, "num_batches_tracked", None), torch.Tensor) else ())]


def _below(layer: Layer) -> str:
    """Key of the bias as the module calls it whose forward makes the call."""
    path = layer.inline.local.name if layer.inline is not None else ""
    key = f"{layer.name}.{layer.bias}" if layer.name else layer.bias
    return key.removeprefix(f"{path}.") if path else key


def _with_bias(graph: fx.Graph, call: fx.Node, *, key: str) -> None:
    """Hand a bias to a convolution or matrix product that has none."""
    with graph.inserting_before(call):
        bias = graph.get_attr(key)
    if len(call.args) > 2:
        call.update_arg(2, bias)
    else:
        call.update_kwarg("bias", bias)


def _without(graph: fx.Graph, call: fx.Node) -> None:
    """Take a norm or a factor out: what it was given is handed on."""
    given = next(arg for arg in (*call.args, *call.kwargs.values()) if isinstance(arg, fx.Node) and not _is_stored(arg))
    call.replace_all_uses_with(given)
    sources = call.all_input_nodes
    graph.erase_node(call)
    drop_unused(graph, *sources)


def _is_stored(node: fx.Node) -> bool:
    """Whether a value is a parameter, or computed from parameters alone."""
    return node.op == "get_attr" or (
        node.op in {"call_function", "call_method"}
        and bool(node.all_input_nodes)
        and all(_is_stored(each) for each in node.all_input_nodes)
    )


def _step(live: Live, fold: Fold, share: Share) -> StateStep:
    layer, affine = share.layer, fold.affine
    weight, bias = (f"{layer.name}.{name}" if layer.name else name for name in (layer.weight, layer.bias))
    has_bias = isinstance(getattr(live.module(layer.name), layer.bias, None), torch.Tensor)
    roles = {"layer.weight": weight, **({"layer.bias": bias} if has_bias else {}), **affine.roles}
    writes = {"layer.weight": live.keys(layer.name, layer.weight)}
    if share.shifts or (has_bias and fold.kind == "behind"):
        writes["layer.bias"] = live.keys(layer.name, layer.bias)
    options: dict[str, Any] = {
        "layer": layer.kind,
        "groups": layer.groups,
        "channels": affine.channels,
        "eps": affine.eps,
        "ids": share.ids,
        "shifts": share.shifts,
        "roles": roles,
        "writes": writes,
    }
    return StateStep(
        kind=fold.kind, into=tuple(key for keys in writes.values() for key in keys), sources=tuple(roles.values()), options=options
    )


class _Pair(nn.Module):
    """A layer and its norm alone, one behind the other."""

    def __init__(self, layer: nn.Module, norm: nn.Module, kind: str, between: tuple[int, ...], given: dict[str, Any]) -> None:
        super().__init__()
        self.layer, self.norm, self._kind, self._between, self._given = layer, norm, kind, between, given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both, in their order."""
        if self._kind == "behind":
            y = self.layer(x, **self._given)
            result: torch.Tensor = self.norm(y if y.shape == self._between else y.reshape(self._between))
        else:
            y = self.norm(x)
            result = self.layer(y if y.shape == self._between else y.reshape(self._between), **self._given)
        return result


def _sizes_given(layer: nn.Module, run: NodeInfo) -> dict[str, Any]:
    """Arguments that a transposed convolution of torch takes beside its input: a stride leaves open how large its output is."""
    own = isinstance(layer, _ConvTransposeNd) and type(layer).forward.__module__ == _ConvTransposeNd.__module__
    return {"output_size": list((run.shape or ())[2:])} if own else {}


class _Stored(nn.Module):
    """A call on stored numbers, as a module."""

    def __init__(self, flow: Flow, affine: Affine) -> None:
        super().__init__()
        self._eps, self._axis = affine.eps, affine.axis
        for role, key in affine.roles.items():
            value = flow.tensor(key)
            if value is not None:
                self.register_buffer(_ATTRIBUTES[role], value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the call does it."""
        held = dict(self.named_buffers())
        if "running_var" in held:
            return F.batch_norm(
                x, held.get("running_mean"), held["running_var"], held.get("weight"), held.get("bias"), False, 0.0, self._eps
            )
        ((name, value),) = held.items()
        value = value.reshape([-1 if place == self._axis else 1 for place in range(x.dim())])
        result: torch.Tensor = _CALLS[name](x, value)
        return result


_CALLS = {"weight": operator.mul, "divisor": operator.truediv, "bias": operator.add, "running_mean": operator.sub}
_ATTRIBUTES = {role: name for name, role in ROLES.items()} | {"norm.divisor": "divisor"}


def _norm_alone(flow: Flow, affine: Affine) -> nn.Module:
    return flow.modules[affine.name] if affine.inline is None else _Stored(flow, affine)


def _is_alone(flow: Flow, layer: Layer) -> bool:
    """Whether the module is nothing but the layer."""
    known = module_op(type(flow.modules[layer.name]))
    return known is not None and known[0] == layer.kind and layer.inline is None


def _only_reshaped(fold: Fold, share: Share, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether what stands between the two is a reshape, or nothing, as far as channels tell."""
    ends = (after, before) if fold.kind == "behind" else (before, after)
    laid = Laid.of(ends[0], fold.affine.axis, fold.affine.channels)
    moved = laid.reshaped(ends[1]) if laid is not None else None
    axis = share.layer.axis(len(ends[1]))
    return moved is not None and moved.axis == axis and encode(moved.ids, fold.affine.channels) == share.ids


def _kernel(flow: Flow, fold: Fold, setting: Setting) -> Any:
    """A builder of the pair alone; ``None`` where the values between the two are more than reshaped."""
    if len(fold.shares) != 1 or not _is_alone(flow, fold.shares[0].layer):
        return None
    share, call = fold.shares[0], flow.graph.nodes[fold.calls[0]]
    run = flow.graph.nodes[share.call]
    first, second = (run, call) if fold.kind == "behind" else (call, run)
    given = flow.given(first)
    if first.shape is None or second.in_shape is None or given is None:
        return None
    if not _only_reshaped(fold, share, first.shape, second.in_shape):
        return None
    between = second.in_shape
    layer, norm = Held(flow.modules[share.layer.name]), Held(_norm_alone(flow, fold.affine))
    sizes = _sizes_given(flow.modules[share.layer.name], run)
    names = {role: f"norm.{_ATTRIBUTES[role] if fold.affine.inline else key.rpartition('.')[2]}" for role, key in fold.affine.roles.items()}
    alone = replace(
        fold,
        affine=replace(fold.affine, name="norm", roles=names, inline=None),
        shares=(replace(share, layer=replace(share.layer, name="layer")),),
        calls=(0,),
    )

    def build() -> Kernel:
        before = _Pair(layer.copied(), norm.copied(), fold.kind, between, sizes).eval()
        after = copy.deepcopy(before)
        fold_into(after, Journal(), alone)
        x = torch.randn(given, device=setting.device, dtype=setting.dtype)
        weight = next(before.layer.parameters())
        if weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last) and x.dim() == 4:
            x = x.to(memory_format=torch.channels_last)
        return Kernel(before=before, after=after, arguments=(x,), exact=copy.deepcopy(before).double())

    return build
