"""What the forward of one module does, as a graph of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import fx, nn

from normadvisor.graph.canonical import base_name, spelling
from normadvisor.optimization.forward.guards import Guards
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["LocalGraph", "Untraced", "drop_unused", "find", "replace"]

_counter = count()
_STANDS_FOR = "stands_for"
"""Names of the nodes that a node has taken the place of."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalGraph:
    """The forward of one module as it ran once: its children are single calls, whatever they do inside.

    Nodes are ``placeholder`` for each tensor among the arguments, nested ones too, and for other objects that are not plain values;
    ``get_attr`` for parameters and buffers, ``call_module`` for children, both relative to the module; calls of torch functions and
    methods, in place where the source is. Sizes, dtypes and devices that are read are nodes as well. ``node.meta`` has ``value`` (tensors
    on the meta device), and of it ``shape``, ``stride`` and ``dtype`` (``None`` unless it is a tensor), ``device`` (of the recorded run),
    ``site`` and ``line`` (of the call in the source, ``None`` for placeholders).
    """

    name: str
    """Qualified name of the module; empty for the model itself."""
    module: nn.Module
    cls: type[nn.Module]
    """Its class when it was traced."""
    graph: fx.Graph
    guards: Guards
    """What has to hold for the graph to be what the forward does."""
    mode: str
    """``train`` or ``eval``: the mode of the module."""
    key: int = field(default_factory=lambda: next(_counter))
    """Tells this trace from all others."""


@dataclass(frozen=True, slots=True)
class Untraced:
    """A module whose forward cannot be put down as a graph."""

    name: str
    reason: str
    """With the line where there is one: ``model.py:12: reads values of a tensor``."""


def find(graph: fx.Graph, name: str) -> fx.Node:
    """The node of that name, or what :func:`replace` has put in its place.

    Raises:
        CannotChange: an edit that was made before has taken it out.

    """
    node: fx.Node
    for node in graph.nodes:
        if name == node.name or name in node.meta.get(_STANDS_FOR, ()):
            return node
    raise CannotChange(f"{name} is no part of the forward any more: another change has taken its place")


def replace(graph: fx.Graph, old: fx.Node, new: fx.Node, inside: Iterable[fx.Node] = ()) -> None:
    """Let all that reads ``old`` read ``new``, found by the name of ``old`` from now on, and erase what nothing reads any more.

    Args:
        graph: of both.
        old: what is replaced.
        new: what takes its place.
        inside: further nodes that only ``old`` hangs on, which are erased whatever else they do, as calls of modules.

    """
    new.meta = {**old.meta, _STANDS_FOR: (old.name, *old.meta.get(_STANDS_FOR, ()), *new.meta.get(_STANDS_FOR, ()))}
    old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    for node in reversed([node for node in graph.nodes if node in {*inside}]):
        if not node.users and not node._erased:  # noqa: SLF001 -- fx has no public word for it
            sources = node.all_input_nodes
            graph.erase_node(node)
            drop_unused(graph, *sources)
    if not old._erased:  # noqa: SLF001 -- fx has no public word for it
        drop_unused(graph, old)


def drop_unused(graph: fx.Graph, *nodes: fx.Node) -> None:
    """Erase nodes that nothing reads, and what only they read; calls of modules and what works in place stay."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.users or node.graph is not graph or node._erased or not _is_pure(node):  # noqa: SLF001 -- fx has no public word for it
            continue
        waiting += node.all_input_nodes
        graph.erase_node(node)


def _is_pure(node: fx.Node) -> bool:
    if node.op == "get_attr":
        return True
    if node.op not in {"call_function", "call_method"}:
        return False
    name, _ = spelling(node.target)
    in_place = base_name(name)[1] or node.kwargs.get("inplace") is True or "out" in node.kwargs
    return not in_place and node.target is not torch._assert and "dropout" not in name  # noqa: SLF001 -- its public name
