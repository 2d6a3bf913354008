"""An operation that is written out in terms of smaller ones, and has a function of torch of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import fx

from normadvisor.graph.record import KEY, TENSOR
from normadvisor.types import JSONValue

__all__ = ["Written", "dtype_of", "is_tensor", "shape_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Written:
    """Nodes of a graph that together compute what one function of torch does."""

    kind: str
    """``silu``, ``gelu``, ``gelu_tanh``, ``mish``, ``softplus``, ``log_softmax``, ``layer_norm``, ``rms_norm``, ``attention`` ..."""
    function: str
    """Dotted name: ``torch.nn.functional.silu``."""
    root: fx.Node
    """The node whose value is the result."""
    inputs: tuple[fx.Node, ...]
    """What it is computed from: one node; for attention query, key (as it is multiplied from the right if transposed) and value."""
    nodes: tuple[fx.Node, ...]
    """All nodes in between with ``root``, in the order of the graph; numbers and dtypes that are computed on the way are among them."""
    parameters: Mapping[str, fx.Node] = field(default_factory=dict)
    """Further tensors by the name of the argument they become: ``weight``, ``bias``, ``attn_mask``."""
    arguments: Mapping[str, JSONValue] = field(default_factory=dict)
    """Further arguments: ``eps``, ``dim``, ``normalized_shape``, ``approximate``, ``scale`` ..."""
    refused: str = ""
    """Why the function cannot take its place though it looks like it: ``its standard deviation is unbiased``."""


def shape_of(node: fx.Node) -> tuple[int, ...] | None:
    """Shape of the value of a node, ``None`` if it is no tensor or was not computed; for graphs of every tracer."""
    note = node.meta.get(KEY)
    found = node.meta.get("shape") if note is None else note.shape if note.kind == TENSOR else None
    return tuple(found) if found is not None else None


def dtype_of(node: fx.Node) -> str | None:
    """Its dtype: ``float32``."""
    note = node.meta.get(KEY)
    if note is not None:
        return note.dtype if note.kind == TENSOR else None  # type: ignore[no-any-return] # of meta, which holds anything
    dtype = node.meta.get("dtype")
    return None if dtype is None else str(dtype).removeprefix("torch.")


def is_tensor(node: fx.Node) -> bool:
    """Whether the value of a node is one tensor."""
    return shape_of(node) is not None
