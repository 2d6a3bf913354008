"""What the traced forward of a module tells beyond its nodes: who shares memory with whom, which calls do nothing, what a child is."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import fx, nn

from normadvisor.graph.canonical import base_name, function_op, module_op, spelling
from normadvisor.optimization.forward import LocalGraph
from normadvisor.optimization.fusing.activations import Activation, of_call, of_layer

__all__ = ["Forwards", "View", "alike", "is_add"]

_ALIASES = frozenset({"identity", "cast", "reshape", "flatten", "squeeze", "unsqueeze", "permute", "split", "index"})
"""Operations whose result may share memory with what they get."""
_DROPOUT = frozenset({"dropout", "feature_dropout", "alpha_dropout"})


class Forwards:
    """The traced forwards of one model."""

    def __init__(self, graphs: Iterable[LocalGraph]) -> None:
        self.graphs = list(graphs)
        self._of = {id(local.module): local for local in self.graphs}

    def views(self) -> Iterator[View]:
        """One for each forward."""
        for local in self.graphs:
            yield View(local, self)

    def of(self, module: nn.Module) -> LocalGraph | None:
        """The forward of a module, if it was traced."""
        return self._of.get(id(module))

    def only_call(self, module: nn.Module) -> fx.Node | None:
        """The call that a module's forward consists of, if it is one function applied to its argument and nothing else."""
        local = self._of.get(id(module))
        if local is None:
            return None
        view = View(local, self)
        steps = [node for node in local.graph.nodes if view.computes(node)]
        output = next(node for node in local.graph.nodes if node.op == "output").args[0]
        if len(steps) != 1 or not isinstance(output, fx.Node) or view.source(output) is not steps[0] or not steps[0].args:
            return None
        given = steps[0].args[0]
        return steps[0] if isinstance(given, fx.Node) and view.source(given).op == "placeholder" else None

    def activation(self, layer: nn.Module) -> Activation | None:
        """The activation that a layer is, by its class or by what its forward does."""
        known = of_layer(layer)
        if known is not None:
            return known
        call = self.only_call(layer)
        return of_call(call) if call is not None else None


class View:
    """One traced forward."""

    def __init__(self, local: LocalGraph, forwards: Forwards) -> None:
        self.local = local
        self._forwards = forwards
        self._order = {node: index for index, node in enumerate(local.graph.nodes)}
        self._roots: dict[fx.Node, frozenset[fx.Node]] = {}

    # -- what a node is ----------------------------------------------------------------------------------------------------

    def child(self, node: fx.Node) -> nn.Module | None:
        """The module that is called; ``None`` if the node is no such call."""
        return self.local.module.get_submodule(str(node.target)) if node.op == "call_module" else None

    def name(self, node: fx.Node) -> str:
        """Qualified name, within the model, of the module that is called."""
        return ".".join(part for part in (self.local.name, str(node.target)) if part)

    def activation(self, node: fx.Node) -> Activation | None:
        """The activation that a node applies to its only argument."""
        child = self.child(node)
        if child is not None:
            return self._forwards.activation(child) if len(node.all_input_nodes) == 1 else None
        return of_call(node) if len(node.all_input_nodes) == 1 else None

    def in_place(self, node: fx.Node) -> bool:
        """Whether a node writes into its first argument."""
        child = self.child(node)
        if child is not None:
            return getattr(child, "inplace", False) is True
        if node.op not in {"call_function", "call_method"}:
            return False
        return base_name(spelling(node.target)[0])[1] or node.kwargs.get("inplace") is True

    def silent(self, node: fx.Node) -> bool:
        """Whether a node hands on what it gets: ``Identity``, dropout in eval mode, a conversion to the dtype it has."""
        child = self.child(node)
        if child is not None:
            known = module_op(type(child))
            if known is None or type(child).forward is not known[1].forward or len(node.all_input_nodes) != 1:
                return False
            return known[0] == "identity" or (known[0] in _DROPOUT and (not child.training or getattr(child, "p", None) == 0))
        if node.op not in {"call_function", "call_method"} or len(node.all_input_nodes) != 1 or not _is_conversion(node):
            return False
        before, after = node.all_input_nodes[0].meta.get("value"), node.meta.get("value")
        return isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor) and before.dtype == after.dtype

    def computes(self, node: fx.Node) -> bool:
        """Whether a node makes another tensor of the arguments; counting calls, checking shapes and the like do not."""
        if node.op in {"placeholder", "get_attr", "output"} or not isinstance(node.meta.get("value"), torch.Tensor) or self.silent(node):
            return False
        return any(root.op != "get_attr" for source in node.all_input_nodes for root in self.roots(source))

    # -- who follows whom ----------------------------------------------------------------------------------------------------

    def source(self, node: fx.Node) -> fx.Node:
        """What ``node`` hands on, if it does nothing else and is the only one to read it; else ``node`` itself."""
        while self.silent(node) and len(node.all_input_nodes[0].users) == 1:
            node = node.all_input_nodes[0]
        return node

    def before(self, node: fx.Node, other: fx.Node) -> bool:
        """Whether ``node`` runs before ``other``."""
        return self._order[node] < self._order[other]

    # -- who shares memory ---------------------------------------------------------------------------------------------------

    def roots(self, node: fx.Node) -> frozenset[fx.Node]:
        """The nodes whose memory ``node`` may be part of."""
        found = self._roots.get(node)
        if found is None:
            found = self._roots[node] = self._found_roots(node)
        return found

    def _found_roots(self, node: fx.Node) -> frozenset[fx.Node]:
        first = node.args[0] if node.args else None
        if not isinstance(first, fx.Node) or node.op in {"placeholder", "get_attr"}:
            return frozenset({node})
        child = self.child(node)
        known = module_op(type(child)) if child is not None else None
        op = known[0] if known is not None else "other" if child is not None else function_op(node.target)[0]
        if self.in_place(node) or self.silent(node):
            return self.roots(first)
        return self.roots(first) | {node} if op in _ALIASES else frozenset({node})

    def disturbed(self, start: fx.Node, end: fx.Node, values: Iterable[fx.Node], own: Iterable[fx.Node]) -> bool:
        """Whether anything but ``own`` writes into the memory of one of ``values`` after ``start`` and before ``end``."""
        roots = frozenset(root for value in values for root in self.roots(value))
        inside = [node for node in self._order if self._order[start] < self._order[node] < self._order[end] and node not in own]
        return any(self.in_place(node) and node.args and self.roots(node.args[0]) & roots for node in inside)

    def seen_elsewhere(self, written: fx.Node, by: fx.Node) -> bool:
        """Whether anyone could see that ``by`` writes into ``written``, but for those who read the result of ``by``."""
        roots = self.roots(written)
        if any(root.op in {"placeholder", "get_attr"} for root in roots):
            return True
        sharing = [node for node in self._order if self.before(node, by) and self.roots(node) & roots]
        return any(self.before(by, user) for node in sharing for user in node.users)


def _is_conversion(node: fx.Node) -> bool:
    op, _ = function_op(node.target)
    return op == "cast" and base_name(spelling(node.target)[0])[0] not in {"cpu", "cuda", "asarray"} and not node.kwargs.get("copy")


def alike(first: Any, second: Any, *, dtypes: bool = True) -> bool:
    """Whether both are nodes of floating tensors of one shape and, unless that does not matter, one dtype."""
    values = [operand.meta.get("value") if isinstance(operand, fx.Node) else None for operand in (first, second)]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    if len(tensors) != len(values) or not all(tensor.is_floating_point() for tensor in tensors):
        return False
    return len({(tensor.shape, tensor.dtype if dtypes else None) for tensor in tensors}) == 1


_ADDITIONS: frozenset[Any] = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})


def is_add(node: fx.Node) -> bool:
    """Whether a node adds two tensors of one shape, whatever their dtypes, and nothing else."""
    if node.op not in {"call_function", "call_method"} or node.target not in _ADDITIONS or node.kwargs or len(node.args) != 2:
        return False
    return alike(*node.args, dtypes=False)
