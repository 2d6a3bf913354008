"""NA706: whether maps with channels last are faster, in which each place holds its channels side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from normadvisor.optimization.candidate import Candidate, Refused, Setting, StateStep
from normadvisor.rewrite.model.refusal import CannotChange

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph
    from normadvisor.rewrite.model.journal import Journal

__all__ = ["FINDERS", "find_formats", "with_format"]

_RULE = "NA706"
_OPS = frozenset({"conv", "conv_transpose"})
"""Operations that compute in the memory format of their weights, and hand it on to what follows."""
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the axes of maps."""
_REMARK = "give it inputs in {format} as well, where you can: others are converted in each call"
_NAMES = {torch.channels_last: "channels_last", torch.channels_last_3d: "channels_last_3d", torch.contiguous_format: "contiguous"}


def find_formats(model: nn.Module, graph: ModelGraph, setting: Setting) -> Iterator[Candidate | Refused]:
    """One candidate for all convolutions of a kind: the memory format that most of their weights do not have.

    Only weights are changed: a convolution computes in the format of its weights, whatever that of its input is, and layers after it keep
    the format of what they get.
    """
    for axes, last_format in _LAST.items():
        found = [node for node in graph.nodes if node.op in _OPS and node.shape is not None and len(node.shape) == axes]
        weights = _weights(model, axes)
        if not found or not weights:
            continue
        if any(tensor.is_meta for tensor in weights):
            yield Refused(rule=_RULE, modules=("",), reason="weights on the meta device have no memory format")
            continue
        last = sum(tensor.is_contiguous(memory_format=last_format) and not tensor.is_contiguous() for tensor in weights)
        wanted = last_format if 2 * last < len(weights) else torch.contiguous_format
        before = torch.contiguous_format if wanted is last_format else last_format
        shapes = "x".join(map(str, found[0].shape or ()))
        yield Candidate(
            rule=_RULE, pattern=f"{_NAMES[before]} maps", replacement=f"{_NAMES[wanted]} maps", modules=("",),
            shape_key=f"{len(found)} convolutions, the first gives {shapes} ({setting.mode})", apply=with_format(axes, wanted),
            remark=_REMARK.format(format=f"torch.{_NAMES[wanted]}") if wanted is last_format and setting.mode == "inference" else "",
        )  # fmt: skip


def _weights(model: nn.Module, axes: int) -> list[nn.Parameter]:
    return [value for value in model.parameters() if value.dim() == axes]


def with_format(axes: int, wanted: torch.memory_format) -> Callable[[nn.Module, Journal], tuple[StateStep, ...]]:
    """What gives the weights of a model with this many axes a memory format; they stay the same parameters, under the same keys.

    Args:
        axes: four for maps, five for volumes.
        wanted: the memory format.

    """

    def apply(model: nn.Module, journal: Journal) -> tuple[StateStep, ...]:
        weights = _weights(model, axes)
        if any(weight.is_meta for weight in weights):
            raise CannotChange("weights on the meta device have no memory format")
        for weight in weights:
            _put(weight, weight.data.contiguous(memory_format=wanted), journal)
        return ()

    return apply


def _put(weight: nn.Parameter, data: torch.Tensor, journal: Journal) -> None:
    before = weight.data
    journal.did(lambda: setattr(weight, "data", before))
    weight.data = data


FINDERS = (("layout", find_formats),)
