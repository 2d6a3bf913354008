"""Whether a function may take the place of what is written out, and under which conditions it stays the same."""

from __future__ import annotations

import torch
from torch import fx, nn

from normadvisor.graph.canonical import base_name, spelling
from normadvisor.graph.written import Written
from normadvisor.optimization.forward import LocalGraph, reached

__all__ = ["demands", "why_not"]

_SAME_UNDER_AUTOCAST = frozenset({
    "add", "sub", "rsub", "mul", "div", "truediv", "true_divide", "neg", "sigmoid", "tanh", "erf", "relu", "relu6", "hardtanh", "clamp",
    "clip", "abs", "where", "maximum", "minimum", "getitem", "to", "float", "type_as", "contiguous", "hardsigmoid",
})  # fmt: skip
"""What computes in the dtype of its operands under autocast; products go down to half precision, powers and sums up to single."""


def why_not(local: LocalGraph, written: Written) -> str:
    """Why the place has to stay as it is; empty if it need not."""
    if written.refused:
        return written.refused
    if written.arguments.get("widens") and _place(local, written.inputs["input"]) is None:
        return "in half precision it gives single precision, and torch's function does not"
    if _is_disturbed(local, written):
        return "what it reads is written over before it is done"
    hooked = next((str(node.target) for node in written.nodes if node.op == "call_module" and _has_hooks(local, node)), None)
    if hooked is not None:
        return f"{hooked}, which would not be called any more, has hooks"
    if any(_drops(local, node) for node in written.nodes):
        return "its dropout draws other random numbers than that of torch's function"
    return ""


def demands(local: LocalGraph, written: Written) -> list[str]:
    """Expressions that have to hold for the function to be the same."""
    found = []
    x = _place(local, written.inputs["input"]) if "input" in written.inputs else None
    if written.arguments.get("widens"):
        found.append(f"{x}.dtype.itemsize >= 4")
    for name in ("weight", "bias"):
        node = written.inputs.get(name)
        if x is not None and node is not None and node.op == "get_attr":
            found.append(f"{x}.dtype == {reached(str(node.target))}.dtype")
    if any(_name(node) not in _SAME_UNDER_AUTOCAST for node in written.nodes if node.meta.get("shape") is not None):
        device: torch.device = written.root.meta["device"]
        found.append(f"not torch.is_autocast_enabled({device.type!r})")
    layers = [node for node in written.nodes if node.op == "call_module" and _is_dropout(local, node)]
    found += [f"not {reached(str(node.target))}.training" for node in layers]
    return found


def _place(local: LocalGraph, node: fx.Node) -> str | None:
    """The expression over the arguments that gives a node's value."""
    return local.guards.places.get(node.name)


def _name(node: fx.Node) -> str:
    return base_name(spelling(node.target)[0])[0] if node.op in {"call_function", "call_method"} else ""


def _is_dropout(local: LocalGraph, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(local.module.get_submodule(str(node.target)), nn.Dropout)
    return _name(node) == "dropout"


def _has_hooks(local: LocalGraph, node: fx.Node) -> bool:
    layer = local.module.get_submodule(str(node.target))
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)  # noqa: SLF001


def _drops(local: LocalGraph, node: fx.Node) -> bool:
    """Whether a node drops values at random."""
    if not _is_dropout(local, node):
        return False
    if node.op == "call_module":
        layer = local.module.get_submodule(str(node.target))
        return bool(layer.training and getattr(layer, "p", 1) != 0)
    names = ("input", "p", "training")
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    return bool(given.get("training", True) is not False and given.get("p", 0.5) != 0)


def _is_disturbed(local: LocalGraph, written: Written) -> bool:
    """Whether anything may write over an operand between the first of the nodes and the last."""
    order = {node: index for index, node in enumerate(local.graph.nodes)}
    first, last, inside = order[written.nodes[0]], order[written.root], set(written.nodes)
    between = [node for node, index in order.items() if first < index < last and node not in inside]
    return any(_writes(local, node) for node in between)


def _writes(local: LocalGraph, node: fx.Node) -> bool:
    if node.op == "call_module":
        return getattr(local.module.get_submodule(str(node.target)), "inplace", False) is True
    if node.op not in {"call_function", "call_method"}:
        return False
    return base_name(spelling(node.target)[0])[1] or node.kwargs.get("inplace") is True or node.kwargs.get("out") is not None
