"""What a BatchNorm becomes: a new layer for each kind of norm, around the values of the old one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from normadvisor.rewrite.convert.frozen import FrozenBatchNorm
from normadvisor.types.groups import group_count

if TYPE_CHECKING:
    from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["KINDS", "New", "NotConvertible", "axes_of", "built"]

_AFFINE = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_POSITIONS = {"BatchNorm1d": 1, "BatchNorm2d": 2, "BatchNorm3d": 3}


class NotConvertible(Exception):  # noqa: N818 - an answer rather than an error
    """The layer cannot become that kind of norm.

    Args:
        reason: why, for people.

    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class New:
    """A new layer, and what became of the old one's values."""

    def __init__(self, layer: nn.Module, old: _BatchNorm) -> None:
        self.layer = layer
        self.origins: list[tuple[Tensor, Tensor]] = []
        """Pairs of a new tensor and the old one whose numbers were copied into it."""
        self._old = old

    def keep(self, *names: str) -> None:
        """Take over parameters and buffers as the very same objects; what the old layer does not have the new one does not have either."""
        for name in names:
            for kind in ("_parameters", "_buffers"):
                held, own = vars(self._old)[kind], vars(self.layer)[kind]
                if name in own:
                    own[name] = held.get(name)

    def freeze(self, *names: str) -> None:
        """Take over parameters as buffers with the same numbers."""
        for name in names:
            value = getattr(self._old, name)
            copied = None if value is None else value.detach().clone()
            vars(self.layer)["_buffers"][name] = copied
            if copied is not None:
                self.origins.append((copied, value))


def axes_of(name: str) -> int | None:
    """How many axes of positions a class of torch's BatchNorm has, by its name; ``None`` for one that takes any."""
    return _POSITIONS.get(name)


def built(old: _BatchNorm, to: str, groups: int) -> New:
    """A layer for the place of ``old``, with its parameters, device, floating type and mode.

    Raises:
        NotConvertible: ``old`` cannot become such a layer.

    """
    # Without memory: every value that it has is one of the old layer.
    with torch.device("meta"):
        new = New(KINDS[to](old, groups), old)
    if to == "frozen_batch_norm":
        new.freeze(*_AFFINE)
        new.keep(*_STATISTICS)
    else:
        new.keep(*_AFFINE, *(_STATISTICS if to == "sync_batch_norm" else ()))
    new.layer.training = old.training
    return new


def _group_norm(old: _BatchNorm, groups: int) -> nn.Module:
    return nn.GroupNorm(group_count(old.num_features, groups), old.num_features, eps=old.eps, affine=old.affine)


def _layer_norm(old: _BatchNorm, _groups: int) -> nn.Module:
    return nn.GroupNorm(1, old.num_features, eps=old.eps, affine=old.affine)


def _sync_batch_norm(old: _BatchNorm, _groups: int) -> nn.Module:
    if isinstance(old, nn.SyncBatchNorm):
        raise NotConvertible("it is a SyncBatchNorm already")
    return nn.SyncBatchNorm(
        old.num_features, eps=old.eps, momentum=old.momentum, affine=old.affine, track_running_stats=old.track_running_stats
    )


def _frozen_batch_norm(old: _BatchNorm, _groups: int) -> nn.Module:
    if old.running_mean is None or old.running_var is None:
        raise NotConvertible("it has no running statistics that could be frozen")
    return FrozenBatchNorm(old.num_features, old.eps, affine=old.affine)


def _instance_norm(old: _BatchNorm, _groups: int) -> nn.Module:
    classes: dict[int | None, type[nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d]] = {
        1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d,
    }  # fmt: skip
    axes = next((found for cls in type(old).__mro__ if cls.__module__.startswith("torch.") and (found := axes_of(cls.__name__))), None)
    if axes is None:
        # A SyncBatchNorm takes any number of axes, and so does a group norm with a channel to each group, which is the same function.
        return nn.GroupNorm(old.num_features, old.num_features, eps=old.eps, affine=old.affine)
    return classes[axes](old.num_features, eps=old.eps, affine=old.affine)


KINDS: Mapping[str, Callable[[_BatchNorm, int], nn.Module]] = {
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "sync_batch_norm": _sync_batch_norm,
    "frozen_batch_norm": _frozen_batch_norm,
    "instance_norm": _instance_norm,
}
"""What BatchNorm can be converted to."""
