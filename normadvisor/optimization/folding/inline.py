"""Calls in a forward, found again in the graph of that forward alone, where they can be taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import fx

from normadvisor.graph.canonical import base_name, spelling
from normadvisor.optimization.forward import LocalGraph, Untraced, local_graphs

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Inline", "Locals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inline:
    """One call in the forward of one module."""

    local: LocalGraph
    node: str
    """Its name in the graph of that forward."""


class Locals:
    """The forward of every module, followed when it is first asked for."""

    def __init__(self, model: nn.Module, inputs: Arguments | None) -> None:
        self._model, self._inputs = model, inputs
        self._found: dict[str, LocalGraph] | None = None
        self._refused: dict[str, str] = {}

    def find(self, path: str, calls: list[fx.Node], call: fx.Node) -> Inline | str:
        """The call in the graph of the forward that makes it.

        Args:
            path: the module whose forward it is.
            calls: all calls of that kind that forward makes, as the trace of the whole model shows them.
            call: one of these.

        """
        graphs = self._graphs()
        if path not in graphs:
            reason = self._refused.get(path, "its forward could not be followed alone")
            return f"it is a call in a forward that cannot be changed: {reason}"
        local = graphs[path]
        own = [node for node in local.graph.nodes if _kind(node) == _kind(call) and _reads(node, path) == _reads(call, "")]
        same = [node for node in calls if _reads(node, "") == _reads(call, "")]
        if len(own) != len(same):
            return "its forward runs several times, or in another way when it runs alone"
        return Inline(local=local, node=own[same.index(call)].name)

    def _graphs(self) -> dict[str, LocalGraph]:
        if self._found is None:
            refused: list[Untraced] = []
            graphs = local_graphs(self._model, self._inputs, refused) if self._inputs is not None else iter(())
            self._found = {local.name: local for local in graphs}
            self._refused = {each.name: each.reason for each in refused}
        return self._found


def _kind(node: fx.Node) -> str:
    if node.op not in {"call_function", "call_method"}:
        return ""
    return base_name(spelling(node.target)[0])[0]


def _reads(node: fx.Node, path: str) -> tuple[str, ...]:
    """Keys of the parameters and buffers that are arguments of a call."""
    prefix = f"{path}." if path else ""
    return tuple(sorted(f"{prefix}{each.target}" for source in node.all_input_nodes for each in _stored(source)))


def _stored(node: fx.Node) -> list[fx.Node]:
    """The parameters that a value is a view of, at most."""
    if node.op == "get_attr":
        return [node]
    if node.op in {"call_function", "call_method"} and _kind(node) in {"view", "reshape", "unsqueeze", "getitem"}:
        first = node.args[0] if node.args else None
        return _stored(first) if isinstance(first, fx.Node) else []
    return []
