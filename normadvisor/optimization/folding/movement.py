"""How the channels of a norm lie on the other side of an operation that factors and offsets of channels can be moved across."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F

from normadvisor.graph.canonical import base_name
from normadvisor.graph.model import NodeInfo
from normadvisor.optimization.folding.channels import Laid
from normadvisor.optimization.folding.flow import Flow
from normadvisor.types import GROUPS

__all__ = ["Moved", "backward", "forward"]

_SHAPED = frozenset({"reshape", "flatten", "squeeze", "unsqueeze"})
_STRIDED = frozenset({"as_strided", "_reshape_alias"})
"""They look into memory rather than at elements."""
_STILL = frozenset(GROUPS["identity_like"])
_DROPPING = frozenset({*GROUPS["dropout_like"], "drop_path"})
_WEIGHTED = frozenset({"avg_pool", "adaptive_avg_pool", "upsample"})
"""Every output is an average of inputs of the same channel, whose weights add up to one."""
_CONSTANT_KEEPING = frozenset({"reflect", "replicate", "circular"})


@dataclass(frozen=True, slots=True)
class Moved:
    """Where the channels lie in one operand (or result)."""

    node: NodeInfo
    laid: Laid
    shifts: bool = True
    """Whether the offset belongs here: of two values that are added up it goes into one."""


def backward(flow: Flow, node: NodeInfo, laid: Laid, reader: NodeInfo) -> list[Moved] | str:
    """From the output of ``node``, which ``reader`` uses, to its operands; why not, if factors and offsets cannot be moved across it."""
    operands = flow.operands(node)
    if any(operand.shape is None for operand in operands) or not operands:
        return _between(node)
    if node.op == "cat":
        return _parts(flow, node, laid, operands)
    if node.op == "split":
        whole = _part(flow, node, laid, reader)
        return _between(node) if whole is None else [whole]
    if node.op in {"add", "sub"}:
        if len(operands) != 2 or any(operand.shape != node.shape for operand in operands) or _scaled(flow, node):
            return _between(node)
        return [Moved(operands[0], laid), Moved(operands[1], laid, shifts=False)]
    shape = operands[0].shape
    assert shape is not None  # noqa: S101 -- looked at above
    if len(operands) != 1:
        return _between(node)
    if node.op == "permute":
        order = node.attrs.get("order")
        known = [place for place in order if isinstance(place, int)] if isinstance(order, list) else []
        found = laid.permuted([known.index(place) for place in range(len(known))]) if known else None
    elif node.op == "pixel_shuffle":
        found = _shuffled(flow, node, laid, shape, back=True)
    else:
        found = _across(flow, node, laid, shape)
    return _between(node) if found is None else [Moved(operands[0], found)]


def forward(flow: Flow, before: NodeInfo, node: NodeInfo, laid: Laid) -> Laid | None:
    """From ``before``, an operand of ``node``, to its output; ``None`` if factors and offsets cannot be moved across it."""
    if node.shape is None:
        return None
    operands = flow.operands(node)
    if node.op == "cat":
        dim = _cat_dim(flow, node)
        if dim is None or len(operands) != len(set(_indices(operands))):
            return None
        if dim != laid.axis:
            return laid.resized(node.shape) if len(operands) == 1 else None
        first = 0
        for operand in operands:
            if operand.index == before.index:
                return laid.widened(first, node.shape)
            first += (operand.shape or (0,) * (dim + 1))[dim]
        return None
    if len(operands) != 1:
        return None
    if node.op == "permute":
        order = node.attrs.get("order")
        known = [place for place in order if isinstance(place, int)] if isinstance(order, list) else []
        return laid.permuted(known) if known else None
    if node.op == "pixel_shuffle":
        return _shuffled(flow, node, laid, node.shape, back=False)
    return _across(flow, node, laid, node.shape)


def _across(flow: Flow, node: NodeInfo, laid: Laid, shape: tuple[int, ...]) -> Laid | None:
    """Operations that work the same in both directions; ``shape`` is that of the other side."""
    if node.op in _STILL:
        return laid if shape == laid.shape and (node.dtype or "").startswith(("float", "bfloat")) else None
    if node.op in _DROPPING:
        active = node.training is not False and node.attrs.get("training") is not False
        return laid if shape == laid.shape and not active else None
    if node.op in _SHAPED:
        return None if base_name(node.target.rpartition(".")[2])[0] in _STRIDED else laid.reshaped(shape)
    if node.op == "mean":
        return _reduced(node, laid, shape)
    if laid.axis != 1:  # Pooling and resampling run over every axis behind the second.
        return None
    if node.op == "pad":
        return laid.resized(shape) if node.attrs.get("mode") in _CONSTANT_KEEPING else None
    if node.op in _WEIGHTED and _averages(flow, node):
        return laid.resized(shape)
    return None


def _averages(flow: Flow, node: NodeInfo) -> bool:
    if node.op == "upsample":
        return node.attrs.get("mode") in {None, "nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"}
    if node.op == "avg_pool":
        padding = node.attrs.get("padding")
        padded = any(padding) if isinstance(padding, list) else bool(padding)
        divisor = (
            getattr(flow.modules.get(node.module), "divisor_override", None) if node.cls else flow.arguments(node).get("divisor_override")
        )
        return divisor is None and not (padded and node.attrs.get("count_include_pad") is not False)
    return True


def _reduced(node: NodeInfo, laid: Laid, shape: tuple[int, ...]) -> Laid | None:
    """Across a mean over other axes than that of the channels; ``laid`` is of one side and ``shape`` of the other."""
    dims = node.attrs.get("dim")
    wide = max(shape, laid.shape, key=len) if len(shape) != len(laid.shape) else None
    if node.attrs.get("keepdim"):
        axes = [dims] if isinstance(dims, int) else dims if isinstance(dims, list) else []
        gone = {int(axis) % len(shape) for axis in axes if isinstance(axis, int)}
        return laid.resized(shape) if axes and laid.axis not in gone and len(shape) == len(laid.shape) else None
    axes = [dims] if isinstance(dims, int) else dims if isinstance(dims, list) else []
    if wide is None or not axes or not all(isinstance(axis, int) for axis in axes):
        return None
    gone = {int(axis) % len(wide) for axis in axes if isinstance(axis, int)}
    left = [place for place in range(len(wide)) if place not in gone]
    if wide == shape:  # From the result back to the operand.
        return Laid(shape, left[laid.axis], laid.ids) if laid.axis < len(left) else None
    return Laid(shape, left.index(laid.axis), laid.ids) if laid.axis in left else None


def _shuffled(flow: Flow, node: NodeInfo, laid: Laid, shape: tuple[int, ...], *, back: bool) -> Laid | None:
    inverse = "unshuffle" in node.target.lower()
    name = "downscale_factor" if inverse else "upscale_factor"
    factor = node.attrs.get(name) if node.cls else flow.arguments(node).get(name)
    if not isinstance(factor, int):
        return None
    apply = F.pixel_shuffle if inverse == back else F.pixel_unshuffle
    made = apply(laid.full().contiguous(), factor)
    return Laid.found(made) if tuple(made.shape) == shape else None


def _parts(flow: Flow, node: NodeInfo, laid: Laid, operands: list[NodeInfo]) -> list[Moved] | str:
    dim = _cat_dim(flow, node)
    sizes = [(operand.shape or ())[dim] for operand in operands] if dim is not None else []
    if dim is None or sum(sizes) != laid.shape[dim] or len(operands) != len(set(_indices(operands))):
        return _between(node)
    moved, first = [], 0
    for operand, size in zip(operands, sizes, strict=True):
        shape = operand.shape or ()
        part = laid.sliced(first, size, shape) if dim == laid.axis else laid.resized(shape)
        if part is None:
            return _between(node)
        moved.append(Moved(operand, part))
        first += size
    return moved


def _part(flow: Flow, node: NodeInfo, laid: Laid, reader: NodeInfo) -> Moved | None:
    """From one part of what ``node`` splits to the whole; ``None`` if another than ``reader`` uses the part."""
    call, user, operands = flow.fx(node), flow.fx(reader), flow.operands(node)
    if call is None or user is None or len(operands) != 1 or operands[0].shape is None:
        return None
    taken = [each for each in call.users if each.op == "call_function" and getattr(each.target, "__name__", "") == "getitem"]
    own = [each for each in taken if each in user.all_input_nodes]
    if len(taken) != len(call.users) or len(own) != 1 or list(own[0].users) != [user]:
        return None
    place, sizes = own[0].args[1], _split_sizes(flow, node, operands[0].shape, laid.axis)
    if not isinstance(place, int) or sizes is None or not -len(sizes) <= place < len(sizes):
        return None
    place %= len(sizes)
    alone = sum(isinstance(each.args[1], int) and each.args[1] % len(sizes) == place for each in taken) == 1
    if not alone or any(not isinstance(each.args[1], int) for each in taken) or sizes[place] != laid.shape[laid.axis]:
        return None
    return Moved(operands[0], laid.widened(sum(sizes[:place]), operands[0].shape))


def _split_sizes(flow: Flow, node: NodeInfo, shape: tuple[int, ...], axis: int) -> list[int] | None:
    """Sizes of the parts, if it is split along the axis."""
    arguments, size = flow.arguments(node), shape[axis]
    dim = arguments.get("dim", 0)
    if not isinstance(dim, int) or dim % len(shape) != axis:
        return None
    told = arguments.get("split_size", arguments.get("split_size_or_sections", arguments.get("split_sizes")))
    if isinstance(told, list | tuple):
        sizes = [each for each in told if isinstance(each, int)]
        return sizes if len(sizes) == len(told) and sum(sizes) == size else None
    chunks = arguments.get("chunks")
    step = told if isinstance(told, int) else -(-size // chunks) if isinstance(chunks, int) and chunks > 0 else 0
    return [min(step, size - first) for first in range(0, size, step)] if step > 0 else None


def _cat_dim(flow: Flow, node: NodeInfo) -> int | None:
    """The axis; ``None`` where it is not known or one value stands in it twice, which the graph shows once."""
    call = flow.fx(node)
    dim = node.attrs.get("dim", 0)
    if call is None or not isinstance(dim, int) or node.shape is None or not node.target.endswith(("cat", "concat", "concatenate")):
        return None
    listed = call.args[0] if call.args else call.kwargs.get("tensors")
    if not isinstance(listed, list | tuple) or len(listed) != len(flow.operands(node)):
        return None
    return dim % len(node.shape)


def _indices(nodes: list[NodeInfo]) -> list[int]:
    return [node.index for node in nodes]


def _scaled(flow: Flow, node: NodeInfo) -> bool:
    """``torch.add(a, b, alpha=2)``."""
    call = flow.fx(node)
    return call is None or bool(call.kwargs.get("alpha", 1) != 1) or len(call.args) + len(call.kwargs) > 2


def _between(node: NodeInfo) -> str:
    what = node.op.replace("_", " ") if node.op != "other" else (node.cls or node.target.rpartition(".")[2])
    return f"{what} stands before it, not a layer with weights"
