"""What was found written out by hand, and what every search for it asks of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from normadvisor.graph.canonical import base_name, is_torch, spelling
from normadvisor.graph.record import KEY

if TYPE_CHECKING:
    from normadvisor.types import JSONValue

__all__ = ["Surroundings", "Written", "constant_scalar", "name_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Several operations that compute together what one function of torch computes."""

    op: str
    """Canonical operation: ``silu``, ``layer_norm``, ``attention`` ..."""
    function: str
    """The function, as ``torch.nn.functional.silu``."""
    root: fx.Node
    """Gives the result."""
    inputs: Mapping[str, fx.Node]
    """Operands by the name of the function's argument: ``input``, ``weight``; ``query``, ``key``, ``value``, ``attn_mask``."""
    nodes: tuple[fx.Node, ...]
    """What the function takes the place of, in the order of the graph, the root included."""
    arguments: Mapping[str, JSONValue] = field(default_factory=dict)
    """Further arguments: ``approximate``, ``eps``, ``normalized_shape``, ``dim``, ``scale``, ``dropout_p`` ..."""
    refused: str = ""
    """Why the function cannot take their place all the same; empty where it can."""

    @property
    def operations(self) -> int:
        """How many calls that compute tensors become one."""
        return sum(not reads_only(node) for node in self.nodes)


_READS = frozenset({"size", "dim", "numel", "ndim", "shape", "dtype", "device", "getitem", "ndimension", "stride"})


def reads_only(node: fx.Node) -> bool:
    """Whether a node looks at its operand rather than computing a tensor."""
    return name_of(node) in _READS


class Surroundings:
    """A graph with the model whose modules and tensors it names.

    Args:
        graph: recorded or traced by this package, or by ``torch.fx``.
        model: the module that targets of ``call_module`` and ``get_attr`` are relative to.

    """

    def __init__(self, graph: fx.Graph, model: nn.Module) -> None:
        self.graph = graph
        self.model = model
        self._modules: dict[str, nn.Module | None] = {}

    @cached_property
    def order(self) -> dict[fx.Node, int]:
        """Position of every node."""
        return {node: position for position, node in enumerate(self.graph.nodes)}

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls; ``None`` if it calls none."""
        if node.op != "call_module":
            return None
        target = str(node.target)
        if target not in self._modules:
            try:
                self._modules[target] = self.model.get_submodule(target)
            except AttributeError:
                self._modules[target] = None
        return self._modules[target]

    def tensor(self, node: fx.Node) -> torch.Tensor | None:
        """The parameter or buffer that a node reads; ``None`` if it reads none."""
        if node.op != "get_attr":
            return None
        found: Any = self.model
        for part in str(node.target).split("."):
            found = getattr(found, part, None)
        return found if isinstance(found, torch.Tensor) else None

    @staticmethod
    def shape(node: fx.Node) -> tuple[int, ...] | None:
        """Shape of a node's value; ``None`` where that is unknown."""
        note = node.meta.get(KEY)
        shape = note.shape if note is not None else node.meta.get("shape")
        if shape is None or not all(isinstance(size, int) for size in shape):
            return None
        return tuple(shape)


def name_of(node: fx.Node) -> str:
    """Bare name of the function or method that a node calls; of a read attribute its name; empty for anything else.

    In-place spellings have none: what they overwrite may be read elsewhere.
    """
    target: Any = node.target
    if node.op not in {"call_function", "call_method"}:
        return ""
    if target is getattr:
        return str(node.args[1])
    if not is_torch(target):
        return ""
    name, in_place = base_name(spelling(target)[0])
    return "" if in_place or node.kwargs.get("inplace") is True else name


def constant_scalar(value: Any) -> float | None:
    """A plain number, ``None`` for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
