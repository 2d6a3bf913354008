"""A norm folded into the layers beside it: the change of a live model, and the operations alone for measuring."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from normadvisor.optimization.candidate import Candidate, Kernel, Setting, StateStep
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.layers import Layer
from normadvisor.optimization.folding.live import Held, Live, chained
from normadvisor.optimization.folding.search import Fold, Share
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange

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
        modules=(*(share.layer.name for share in fold.shares), fold.affine.name),
        shape_key=" | ".join(_shape_key(flow, share, setting) for share in fold.shares),
        apply=lambda model, journal: fold_into(model, journal, fold),
        kernel=_kernel(flow, fold, setting),
    )


def spelled(flow: Flow, layer: Layer) -> str:
    """``conv2d``, ``conv_transpose1d``, ``linear``."""
    module: Any = flow.modules[layer.name]
    return layer.kind if layer.kind == "linear" else f"{layer.kind}{module.weight.dim() - 2}d"


def _shape_key(flow: Flow, share: Share, setting: Setting) -> str:
    node, module = flow.graph.nodes[share.call], flow.modules[share.layer.name]
    settings = [f"{name}={value}" for name in ("stride", "padding", "dilation", "groups") if (value := node.attrs.get(name)) is not None]
    held = getattr(module, "weight", None)
    weight = tuple(held.shape) if isinstance(held, torch.Tensor) else ()
    told = [spelled(flow, share.layer), f"{node.in_shape}", f"{weight}", *settings, f"bias={share.layer.has_bias}", str(setting.dtype)]
    return " ".join(told)


def fold_into(model: nn.Module, journal: Journal, fold: Fold) -> tuple[StateStep, ...]:
    """Change a model; modules are found by their names.

    Raises:
        CannotChange: a layer is no longer there, or the numbers cannot be folded; nothing has been changed.

    """
    live = Live(model, journal)
    norm = live.module(fold.affine.name)
    if any(not isinstance(getattr(norm, attribute, None), torch.Tensor) for attribute in fold.affine.roles.values()):
        raise CannotChange(f"{fold.affine.name} is no longer what it was")
    own = [name for name, _ in norm.named_parameters(recurse=False)] + [name for name, _ in norm.named_buffers(recurse=False)]
    dropped = tuple(key for attribute in own for key in live.keys(fold.affine.name, attribute))
    steps = [_step(live, fold, share) for share in fold.shares]
    made = live.ready(steps)
    live.put(fold.affine.name, chained([(key, norm.get_submodule(key)) for key in fold.affine.rest]))
    for values in made:
        live.write(values)
    return (*steps, StateStep(kind="drop", into=(), sources=(), dropped=dropped))


def _step(live: Live, fold: Fold, share: Share) -> StateStep:
    layer, affine = share.layer, fold.affine
    module = live.module(layer.name)
    has_bias = isinstance(getattr(module, "bias", None), torch.Tensor)
    roles = {"layer.weight": f"{layer.name}.weight"}
    if has_bias:
        roles["layer.bias"] = f"{layer.name}.bias"
    roles |= {role: f"{affine.name}.{attribute}" for role, attribute in affine.roles.items()}
    writes = {"layer.weight": live.keys(layer.name, "weight")}
    if share.shifts or (has_bias and fold.kind == "behind"):
        writes["layer.bias"] = live.keys(layer.name, "bias")
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

    def __init__(self, layer: nn.Module, norm: nn.Module, kind: str, between: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.norm, self._kind, self._between = layer, norm, kind, between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both, in their order."""
        first, second = (self.layer, self.norm) if self._kind == "behind" else (self.norm, self.layer)
        y = first(x)
        result: torch.Tensor = second(y if y.shape == self._between else y.reshape(self._between))
        return result


def _kernel(flow: Flow, fold: Fold, setting: Setting) -> Any:
    """A builder of the pair alone; ``None`` where the values between the two are more than reshaped."""
    if len(fold.shares) != 1:
        return None
    share, call = fold.shares[0], flow.graph.nodes[fold.calls[0]]
    run = flow.graph.nodes[share.call]
    first, second = (run, call) if fold.kind == "behind" else (call, run)
    if first.shape is None or second.in_shape is None or first.in_shape is None:
        return None
    if torch.Size(first.shape).numel() != torch.Size(second.in_shape).numel():
        return None
    given, between = first.in_shape, second.in_shape
    layer, norm = Held(flow.modules[share.layer.name]), Held(flow.modules[fold.affine.name])
    alone = replace(
        fold, affine=replace(fold.affine, name="norm"), shares=(replace(share, layer=replace(share.layer, name="layer")),), calls=(0,)
    )

    def build() -> Kernel:
        before = _Pair(layer.copied(), norm.copied(), fold.kind, between).eval()
        after = copy.deepcopy(before)
        fold_into(after, Journal(), alone)
        x = torch.randn(given, device=setting.device, dtype=setting.dtype)
        weight = next(before.layer.parameters())
        if weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last) and x.dim() == 4:
            x = x.to(memory_format=torch.channels_last)
        return Kernel(before=before, after=after, arguments=(x,))

    return build
