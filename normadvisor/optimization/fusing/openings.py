"""Containers that end in a norm, opened within the forward that calls them: what they run becomes part of it.

``relu(x + self.body(x))`` has its norm in the forward of ``body``. Once the nodes of that stand in the place of the call, norm, sum and
activation are in one graph.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, cast

from torch import fx, nn

from normadvisor.optimization.forward import LocalGraph, find, reached
from normadvisor.optimization.fusing.forwards import Forwards, View
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["Key", "Opening", "demands", "key_of", "look_up", "open_calls", "openings", "trial"]

Key: TypeAlias = Any
"""Name of a node, or for one that came from an opened call the key of the call and that of the node in its forward."""
Opening: TypeAlias = tuple[Key, LocalGraph]
"""A call, and the forward that takes its place."""
_KEY = "opened"
_OF_KIND = re.compile(r"isinstance\(\w+, (torch\.Tensor|_tensors)\)")
_OWN = re.compile(r"\bself\b")
_DEEPEST = 8


def key_of(node: fx.Node) -> Key:
    """What :func:`look_up` finds a node by, in copies of its graph as well."""
    return node.meta.get(_KEY, node.name)


def look_up(graph: fx.Graph, key: Key) -> fx.Node:
    """The node of a key.

    Raises:
        CannotChange: an edit that was made before has taken it out.

    """
    if isinstance(key, str):
        return find(graph, key)
    found = next((node for node in graph.nodes if node.meta.get(_KEY) == key), None)
    if found is not None:
        return cast("fx.Node", found)
    raise CannotChange(f"{key[-1]} is no part of the forward any more: another change has taken its place")


def openings(view: View, forwards: Forwards, call: fx.Node, is_norm: Callable[[View, fx.Node], bool]) -> Iterator[Opening]:
    """Calls to be opened, the outer first, until the norm that ``call`` ends in is in the forward of ``view``; none if it ends otherwise.

    Args:
        view: of the forward with the call.
        forwards: of the model.
        call: of a container.
        is_norm: whether a node is a norm that is looked for.

    """
    found: list[Opening] = []
    key = key_of(call)
    for _ in range(_DEEPEST):
        inner = _inside(view, forwards, call)
        if inner is None:
            return
        found.append((key, inner))
        view = View(inner, forwards)
        last = _last(view)
        if last is None:
            return
        if is_norm(view, last):
            yield from found
            return
        call, key = last, (key, last.name)


def _inside(view: View, forwards: Forwards, call: fx.Node) -> LocalGraph | None:
    """The forward of a called module, where it may stand in the place of the call."""
    child = view.child(call)
    local = forwards.of(child) if child is not None else None
    if local is None or len(call.users) != 1 or len(call.args) != 1 or call.kwargs or not isinstance(call.args[0], fx.Node):
        return None
    hooks = child is not None and (child._forward_hooks or child._forward_pre_hooks or child._backward_hooks or child._backward_pre_hooks)  # noqa: SLF001
    given = [node for node in local.graph.nodes if node.op == "placeholder"]
    if hooks or len(given) != 1 or any(_asks(local) & set(re.findall(r"\w+", condition)) for condition in _conditions(local)):
        return None
    return local


def _conditions(local: LocalGraph) -> list[str]:
    """What has to hold beside that the argument is a tensor, which it is inside of another forward."""
    left = set(list(inspect.signature(local.cls.forward).parameters)[2:])
    conditions = [condition for condition in local.guards.conditions if not _OF_KIND.fullmatch(condition)]
    return [condition for condition in conditions if not left & set(re.findall(r"\w+", condition))]


def _asks(local: LocalGraph) -> set[str]:
    """Names that mean something only where a forward is called: its only argument, and what was given a name.

    What is not given has the value it had when the forward was traced, so that conditions on it hold.
    """
    return {*list(inspect.signature(local.cls.forward).parameters)[1:2], *local.guards.names}


def demands(wanted: Sequence[Opening], graph: fx.Graph) -> tuple[str, ...]:
    """Conditions for a forward that those of the containers in it set for themselves.

    Args:
        wanted: calls in the forward, the outer first.
        graph: of the forward, with nothing opened.

    """
    found, paths = [], {key_of(node): str(node.target) for node in graph.nodes}
    for key, local in wanted:
        path = paths[key]
        paths |= {(key, node.name): f"{path}.{node.target}" for node in local.graph.nodes}
        found += [_OWN.sub(lambda _, path=path: reached(path), condition) for condition in _conditions(local)]  # type: ignore[misc]
    return tuple(found)


def _last(view: View) -> fx.Node | None:
    """What the output of a forward is, but for calls that hand it on."""
    output = next(node for node in view.local.graph.nodes if node.op == "output").args[0]
    found = view.source(output) if isinstance(output, fx.Node) else None
    return found if found is not None and len(found.users) == 1 else None


def open_calls(graph: fx.Graph, module: nn.Module, wanted: Sequence[Opening]) -> None:
    """Open calls in a graph; those that were opened before stay so.

    Args:
        graph: of the forward of ``module``.
        module: whose children are called.
        wanted: the outer first.

    Raises:
        CannotChange: a container is not what was traced.

    """
    for key, local in wanted:
        if any(node.meta.get(_KEY, ("",))[0] == key for node in graph.nodes):
            continue
        call = look_up(graph, key)
        cls = type(module.get_submodule(str(call.target)))
        if local.cls not in {cls, getattr(cls, "_normadvisor_base", None)}:
            raise CannotChange(f"{call.target} is a {cls.__name__}, and its forward is not the one that was traced")
        _open(graph, call, key, local)


def _open(graph: fx.Graph, call: fx.Node, key: Key, local: LocalGraph) -> None:
    made: dict[fx.Node, Any] = {}
    with graph.inserting_before(call):
        for node in local.graph.nodes:
            if node.op == "placeholder":
                made[node] = call.args[0]
            elif node.op == "output":
                call.replace_all_uses_with(fx.node.map_arg(node.args[0], made.__getitem__))
            else:
                new = made[node] = graph.node_copy(node, made.__getitem__)
                new.meta = {**node.meta, _KEY: (key, node.name)}
                if node.op in {"call_module", "get_attr"}:
                    new.target = f"{call.target}.{node.target}"
    graph.erase_node(call)


def trial(view: View, forwards: Forwards, wanted: Sequence[Opening]) -> View:
    """The same forward with calls opened, to be looked at."""
    graph = copy.deepcopy(view.local.graph)
    for before, after in zip(view.local.graph.nodes, graph.nodes, strict=True):
        after.meta = dict(before.meta)
    open_calls(graph, view.local.module, wanted)
    return View(dataclasses.replace(view.local, graph=graph), forwards)
