"""Conversions as operations, for the source: one list for each place that builds layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import gcd, prod

from normadvisor.errors import UsageError
from normadvisor.graph.model import ModelGraph, ModuleInfo, NodeInfo
from normadvisor.rewrite.convert.chosen import is_chosen
from normadvisor.rewrite.convert.kinds import KINDS, axes_of
from normadvisor.types import JSONValue, Operation, OperationKind, Part
from normadvisor.types.groups import MOST_GROUPS, group_count

__all__ = ["conversion_operations"]

_EPS, _MOMENTUM = 1e-5, 0.1
"""Defaults of torch, which are left out."""
_VECTORS = 2
"""Axes of a batch of vectors."""
_LEAST_CHANNELS = 2
"""Fewest channels of a group, as in :mod:`normadvisor.types.groups`."""


def conversion_operations(
    graph: ModelGraph, to: str, layers: str | Sequence[str] = "*", groups: int = MOST_GROUPS
) -> list[list[Operation]]:
    """What to build in the place of each BatchNorm.

    Layers that one line builds get one number of groups, the largest that suits all of them, since the line can say only one. Layer
    normalization is ``GroupNorm`` with one group, and ``LayerNorm`` where the graph shows vectors; behind global pooling a group norm has
    one group as well. A frozen BatchNorm is torchvision's where that is installed and the layer is a BatchNorm2d.

    Left out are layers that are of the kind already, an instance norm of vectors, which would have one value to each statistic, and a
    frozen BatchNorm without running statistics.

    Args:
        graph: the model.
        to: ``group_norm``, ``layer_norm``, ``sync_batch_norm``, ``frozen_batch_norm`` or ``instance_norm``.
        layers: globs over qualified names; ``!glob`` leaves layers out.
        groups: groups of a GroupNorm at most.

    Returns:
        One list of ``replace_layer`` for each line that builds layers.

    Raises:
        UsageError: there is no such conversion, or ``groups`` is below 1.

    """
    if to not in KINDS:
        raise UsageError(f"there is no conversion to {to!r}", hint=f"one of {', '.join(KINDS)}")
    if groups < 1:
        raise UsageError(f"a norm cannot have {groups} groups")
    sites: dict[object, list[_Norm]] = {}
    for norm in _norms(graph):
        if is_chosen([norm.module.name], layers) and norm.becomes(to):
            sites.setdefault(norm.place, []).append(norm)
    return [_of_site(norms, to, groups) for norms in sites.values()]


@dataclass(frozen=True, slots=True)
class _Norm:
    """A BatchNorm of the graph."""

    module: ModuleInfo
    channels: int
    node: NodeInfo | None
    """Its first run; ``None`` if it never ran."""

    @property
    def place(self) -> object:
        """The line that builds it."""
        site = self.module.site
        return site.frames[0].location if site is not None and site.frames else self.module.name

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of its input."""
        return self.node.in_shape if self.node is not None else None

    @property
    def of_vectors(self) -> bool:
        """Whether its input has no positions."""
        return self.shape is not None and len(self.shape) == _VECTORS

    def becomes(self, to: str) -> bool:
        """Whether there is something to convert."""
        if to == "sync_batch_norm":
            return self.module.cls != "SyncBatchNorm"
        if to == "frozen_batch_norm":
            return self.module.attrs.get("track_running_stats") is not False
        return to != "instance_norm" or not self.of_vectors

    def operation(self, layer: str, arguments: dict[str, JSONValue]) -> Operation:
        """The layer built in its place, with what it was built with."""
        given = dict(arguments)
        if self.module.attrs.get("eps", _EPS) != _EPS:
            given["eps"] = self.module.attrs["eps"]
        part = Part(self.module.name, self.node.name if self.node is not None else "", "batch_norm")
        return Operation(kind=OperationKind.REPLACE_LAYER, part=part, layer=layer, arguments=given)


def _norms(graph: ModelGraph) -> list[_Norm]:
    runs: dict[str, NodeInfo] = {}
    for node in graph.nodes:
        if node.op == "batch_norm":
            runs.setdefault(node.module, node)
    found = []
    for name, module in graph.modules.items():
        channels = module.attrs.get("num_features")
        if module.op == "batch_norm" and isinstance(channels, int):
            found.append(_Norm(module, channels, runs.get(name)))
    return found


def _of_site(norms: Sequence[_Norm], to: str, most: int) -> list[Operation]:
    counts = _group_counts(norms, most)
    return [norm.operation(*_layer(norm, to, count)) for norm, count in zip(norms, counts, strict=True)]


def _layer(norm: _Norm, to: str, groups: int) -> tuple[str, dict[str, JSONValue]]:
    """Which class, and what is special to it."""
    axes = axes_of(norm.module.cls)
    scaled = norm.module.attrs.get("affine") is not False
    plain: dict[str, JSONValue] = {} if scaled else {"affine": False}
    if to == "layer_norm" and norm.of_vectors:
        return "torch.nn.LayerNorm", {"normalized_shape": norm.channels, **({} if scaled else {"elementwise_affine": False})}
    if to in {"group_norm", "layer_norm"} or (to == "instance_norm" and axes is None):
        count = {"group_norm": groups, "layer_norm": 1}.get(to, norm.channels)
        return "torch.nn.GroupNorm", {"num_groups": count, "num_channels": norm.channels, **plain}
    width: dict[str, JSONValue] = {"num_features": norm.channels}
    if to == "instance_norm":
        # Without being asked it has neither scale nor shift.
        return f"torch.nn.InstanceNorm{axes}d", width | ({"affine": True} if scaled else {})
    if to == "sync_batch_norm":
        return "torch.nn.SyncBatchNorm", {**width, **_moving(norm.module), **plain}
    if axes == 2 and scaled and find_spec("torchvision") is not None:
        return "torchvision.ops.FrozenBatchNorm2d", width
    return "normadvisor.rewrite.convert.FrozenBatchNorm", {**width, **plain}


def _moving(module: ModuleInfo) -> dict[str, JSONValue]:
    """How running statistics move, where it is not as by default."""
    given: dict[str, JSONValue] = {}
    if "momentum" in module.attrs and module.attrs["momentum"] != _MOMENTUM:
        given["momentum"] = module.attrs["momentum"]
    if module.attrs.get("track_running_stats") is False:
        given["track_running_stats"] = False
    return given


def _group_counts(norms: Sequence[_Norm], most: int) -> list[int]:
    """Groups for each layer of one line: the same number where one above 1 suits all."""
    if all(norm.shape is not None and prod(norm.shape[2:]) == 1 for norm in norms):
        # Behind global pooling a group of two channels would hold two values.
        return [1] * len(norms)
    common, narrowest = gcd(*(norm.channels for norm in norms)), min(norm.channels for norm in norms)
    at_most = min(most, narrowest // _LEAST_CHANNELS)
    shared = next((count for count in range(at_most, 1, -1) if common % count == 0), None)
    return [shared or group_count(norm.channels, most) for norm in norms]
