"""Finds convolutions on a CPU that can apply the activation behind them, with a sum between, to each value as it is computed (NA702).

Once norms are folded, this is what is left of a norm and its activation. It is looked for after the memory format is chosen: how much
there is to gain hangs on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from normadvisor.fused.convolution.functional import CONV_ACTIVATIONS, SUMMED_ACTIVATIONS, is_convolution
from normadvisor.optimization.candidate import Candidate, Refused, Setting
from normadvisor.optimization.forward import local_graphs
from normadvisor.optimization.fusing.forwards import Forwards, View
from normadvisor.optimization.fusing.joins import candidate, joins

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph

__all__ = ["FINDERS", "find_activated"]

_NOT_A_NUMBER = "NaN comes out of a relu that a convolution applies as 0, as it does in models that torch.compile has frozen"


def find_activated(model: nn.Module, _graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
    """All places of a model; none where gradients are needed, in another dtype, or, unless it is forced, on another device."""
    here = setting.device.type == "cpu" and torch._C._has_mkldnn  # noqa: SLF001 -- torch.backends.mkldnn asks the same way
    if setting.mode != "inference" or setting.dtype is not torch.float32 or not (here or setting.force):
        return
    for join in joins(Forwards(local_graphs(model, setting.inputs, [])), (), _conv_kind):
        if isinstance(join, Refused):
            yield join
        elif join.activation.name in (CONV_ACTIVATIONS if join.residual is None else SUMMED_ACTIVATIONS):
            remark = _NOT_A_NUMBER if join.activation.name in {"relu", "relu6"} else ""
            yield dataclasses.replace(candidate(join, setting), remark=remark)


def _conv_kind(view: View, _forwards: Forwards, node: fx.Node) -> str:
    """``conv`` for the call of a convolution layer on a batch, else empty."""
    child = view.child(node)
    if child is None or not is_convolution(child) or len(node.args) != 1 or node.kwargs:
        return ""
    given, weight = node.all_input_nodes[0].meta.get("value"), getattr(child, "weight", None)
    if not isinstance(given, torch.Tensor) or not isinstance(weight, torch.Tensor):
        return ""
    return "conv" if given.dim() == weight.dim() and given.dtype is weight.dtype is torch.float32 else ""


FINDERS = (("activate", find_activated),)
