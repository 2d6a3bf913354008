"""Where the bias of a layer goes when it is taken out: into the running means of the norms behind it.

In train mode such a norm subtracts the mean of the batch, and the bias with it. In eval mode it subtracts the running mean, which must be
smaller by the bias once the bias is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from normadvisor.errors import NormAdvisorError
from normadvisor.graph.model import ModelGraph, NodeInfo
from normadvisor.rewrite.keys import Fold
from normadvisor.types import GROUPS, Operation, OperationKind

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FoldError", "folds"]

_LINEAR = frozenset(GROUPS["linear_map"])
_RESHAPING = frozenset(GROUPS["reshaping"])
_TRACKING = frozenset({"batch_norm", "instance_norm"})
_UNMOVED = frozenset(GROUPS["identity_like"])
_WINDOWED = frozenset({"max_pool", "adaptive_max_pool", "avg_pool", "adaptive_avg_pool", "upsample"})
_CONSTANT_KEEPING = frozenset({"reflect", "replicate", "circular"})
"""Ways to pad that see the same constant at the border as in the middle."""


class FoldError(NormAdvisorError):
    """Without the bias the model would compute something else in eval mode, and no running mean can make up for it."""


@dataclass(frozen=True, slots=True)
class _Spread:
    """How the entries of a bias lie along one axis of a value: ``bias.repeat_interleave(repeats).repeat(tiles)``."""

    axis: int
    repeats: int = 1
    tiles: int = 1


def folds(graph: ModelGraph, operations: Iterable[Operation], model: nn.Module | None = None) -> tuple[Fold, ...]:
    """The folds that belong to the operations: one for each bias that is taken out and each running mean that it reaches.

    Where a bias reaches something else than a norm, a norm without running statistics, or nothing that leaves it a constant for each
    channel, nothing is folded on that way: the bias is dropped, and whether that changes the model is for the caller to prove.

    Args:
        graph: of the model before the operations.
        operations: of any kind; those that set ``bias`` to ``False`` matter.
        model: the model itself, to find the running mean of a hand-written norm, which cannot be folded into without it, and the further
            keys of a shared one.

    Raises:
        FoldError: a running mean that the bias reaches also serves values without it, or its name is not known.

    """
    found: dict[Fold, None] = {}
    means = _Means(graph, model)
    for operation in operations:
        if operation.kind is OperationKind.SET_ARGUMENT and operation.argument == "bias" and operation.value is False:
            for fold in _of_bias(graph, operation.part.module, means):
                found.update((replace(fold, into=name), None) for name in _names_of(model, fold.into))
    return tuple(found)


def _of_bias(graph: ModelGraph, layer: str, means: _Means) -> Iterator[Fold]:
    calls = [node for node in graph.nodes if node.module == layer and node.op in _LINEAR]
    reached: dict[str, dict[int, _Spread]] = {}
    for call in calls:
        for norm, spread in _norms_behind(graph, call):
            mean = means.of(norm)
            if mean is None:
                continue
            if reached.setdefault(mean, {}).setdefault(norm.index, spread) != spread:
                raise FoldError(f"the bias of {layer} reaches {norm.module} in two orders")
    for mean, found in reached.items():
        spreads = set(found.values())
        if any(node.index not in found for node in means.users(mean)):
            raise FoldError(f"{mean} also serves values that do not come from {layer}, so the bias of {layer} cannot be folded into it")
        if len(spreads) > 1:
            raise FoldError(f"the bias of {layer} reaches {mean} in two orders")
        spread = spreads.pop()
        yield Fold(f"{layer}.bias", mean, repeats=spread.repeats, tiles=spread.tiles)


def _norms_behind(graph: ModelGraph, call: NodeInfo) -> Iterator[tuple[NodeInfo, _Spread]]:
    """Norms with running statistics that subtract the bias again, and how it lies along their channels."""
    if call.channel_axis is None or call.shape is None:
        return
    waiting = deque([(call, _Spread(call.channel_axis))])
    seen: set[tuple[int, _Spread]] = set()
    while waiting:
        node, spread = waiting.popleft()
        for index in node.users:
            user = graph.nodes[index]
            if user.op in _TRACKING:
                if _subtracts(user, spread):
                    yield user, spread
                continue
            after = _passed(user, node, spread)
            if after is not None and (index, after) not in seen:
                seen.add((index, after))
                waiting.append((user, after))


def _subtracts(norm: NodeInfo, spread: _Spread) -> bool:
    axes = norm.attrs.get("axes")
    if norm.attrs.get("track_running_stats") is not True or not isinstance(axes, list):
        return False
    channels = norm.attrs.get("num_features")
    shape = norm.in_shape
    # Statistics of each channel apart: of the axis the bias lies along, and of no other one that has more than one entry.
    return spread.axis not in axes and shape is not None and spread.axis < len(shape) and channels in {None, shape[spread.axis]}


def _passed(node: NodeInfo, before: NodeInfo, spread: _Spread) -> _Spread | None:
    """How the bias lies behind ``node``, ``None`` if it is no longer one constant for each channel."""
    if len(node.inputs) != 1:
        return None
    if node.op in _UNMOVED:
        return spread
    if node.op in _RESHAPING:
        return _moved(node, before, spread)
    # What works along the width of the map must leave the axis of the bias alone.
    rank = len(node.shape) if node.shape is not None else 0
    if spread.axis >= rank or before.shape is None or len(before.shape) != rank or before.shape[spread.axis] != node.shape[spread.axis]:  # type: ignore[index]
        return None
    if node.op in _WINDOWED and spread.axis > 1:
        return None  # Pooling and resampling run over every axis behind the second.
    if node.op == "avg_pool":
        padding = node.attrs.get("padding")
        padded = any(_numbers(padding))
        return None if padded and node.attrs.get("count_include_pad") is not False else spread
    if node.op == "pad":
        return spread if node.attrs.get("mode") in _CONSTANT_KEEPING else None
    return spread if node.op in _WINDOWED else None


def _numbers(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _moved(node: NodeInfo, before: NodeInfo, spread: _Spread) -> _Spread | None:
    old, new = before.shape, node.shape
    if old is None or new is None or prod(old) != prod(new):
        return None
    if node.op == "permute":
        order = node.attrs.get("order")
        return _Spread(order.index(spread.axis), spread.repeats, spread.tiles) if isinstance(order, list) and spread.axis in order else None
    behind = prod(old[spread.axis + 1 :])
    for axis, size in enumerate(new):
        inner = prod(new[axis + 1 :])
        if size == old[spread.axis] and inner == behind:
            return _Spread(axis, spread.repeats, spread.tiles)
    if spread.repeats > 1 or spread.tiles > 1:
        return None
    return _merged(old[spread.axis], behind, new)


def _merged(channels: int, behind: int, new: Sequence[int]) -> _Spread | None:
    """Where the axis of the bias was merged with others: the new axis along which it repeats without changing elsewhere.

    Element ``e`` of the value has entry ``e // behind % channels`` of the bias. Along an axis with ``inner`` elements behind each of its
    places this is ``place // (behind // inner) % channels`` if ``inner`` divides ``behind``, and the same wherever the axes before stand if
    the axis holds whole rounds of all channels.
    """
    for axis, size in enumerate(new):
        inner = prod(new[axis + 1 :])
        if inner and behind % inner == 0 and size and size % (behind // inner * channels) == 0:
            repeats = behind // inner
            return _Spread(axis, repeats, size // (repeats * channels))
    return None


class _Means:
    """Keys of the running means that norms use, looked up once each."""

    def __init__(self, graph: ModelGraph, model: nn.Module | None) -> None:
        self._model = model
        self._calls = {node.name: node for node in graph.fx_graph.nodes} if graph.fx_graph is not None else {}
        self._known: dict[int, str | None] = {}
        self._trackers = [node for node in graph.nodes if node.op in _TRACKING and node.attrs.get("track_running_stats") is True]

    def users(self, key: str) -> list[NodeInfo]:
        """All calls of norms that use the running mean ``key``."""
        return [node for node in self._trackers if self._quiet(node) == key]

    def _quiet(self, norm: NodeInfo) -> str | None:
        try:
            return self.of(norm)
        except FoldError:
            return None  # A hand-written norm has a buffer of its own.

    def of(self, norm: NodeInfo) -> str | None:
        """Key of the running mean that ``norm`` uses; ``None`` if it has none.

        Raises:
            FoldError: it has one under a name that is not known.

        """
        if norm.index not in self._known:
            self._known[norm.index] = self._found(norm)
        return self._known[norm.index]

    def _found(self, norm: NodeInfo) -> str | None:
        if norm.attrs.get("track_running_stats") is not True:
            return None
        if not norm.cls:
            return self._given(norm)
        if not norm.attrs.get("handwritten"):
            return f"{norm.module}.running_mean"
        means = [name for name in _buffers(self._model, norm.module) if "mean" in name]
        if len(means) != 1:
            raise FoldError(f"which buffer of {norm.module} is its running mean is not known")
        return f"{norm.module}.{means[0]}"

    def _given(self, norm: NodeInfo) -> str | None:
        """The buffer that is handed to ``F.batch_norm``."""
        if not self._calls:
            return f"{norm.module}.running_mean"
        from normadvisor.graph.signatures import bind  # noqa: PLC0415 - only traced calls need it

        call = self._calls.get(norm.name)
        if call is None:
            return None
        held: Any = bind(norm.op, norm.target, call.args, call.kwargs).get("running_mean")
        return str(held.target) if getattr(held, "op", "") == "get_attr" else None


def _names_of(model: nn.Module | None, key: str) -> list[str]:
    """All keys that a buffer has in the state: a shared layer stands in it once for each of its places."""
    if model is None:
        return [key]
    buffers = dict(model.named_buffers(remove_duplicate=False))
    return [key, *(name for name, buffer in buffers.items() if buffer is buffers.get(key) and name != key)]


def _buffers(model: nn.Module | None, layer: str) -> list[str]:
    if model is None:
        return []
    return [name for name, buffer in model.get_submodule(layer).named_buffers(recurse=False) if buffer.is_floating_point()]
