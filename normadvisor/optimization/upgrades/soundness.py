"""Whether a function may take the place of what is written out, and under which conditions it stays the same."""

from __future__ import annotations

import torch
from torch import fx, nn

from normadvisor.graph.canonical import base_name, spelling
from normadvisor.graph.written import Written
from normadvisor.graph.written.exact import is_cast
from normadvisor.optimization.forward import LocalGraph, reached
from normadvisor.optimization.forward.guards import written as spelled

__all__ = ["demands", "why_not"]

_BY_AXES = frozenset({"layer_norm", "rms_norm", "softmax", "log_softmax", "attention"})
"""What is computed along some axes."""
_WITH_AXES = frozenset({
    "mean", "sum", "var", "std", "var_mean", "std_mean", "norm", "vector_norm", "normalize", "amax", "max", "logsumexp", "softmax",
    "log_softmax", "unsqueeze", "squeeze", "transpose", "permute", "movedim", "einsum", "view", "reshape", "flatten", "bmm", "baddbmm",
})  # fmt: skip
"""What names its axes, or has as many as it is given."""

_FORWARD_MODE = "torch.autograd.forward_ad._current_level"
"""How deep forward-mode differentiation is nested, from -1 on; ``scaled_dot_product_attention`` has no derivative for it on a CPU."""
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
    if any(_hangs_on_arguments(written.inputs[name]) for name in ("weight", "bias") if name in written.inputs):
        return "the shape of its weight or bias hangs on that of the input"
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
    found = _of_shapes(local, written)
    x = _place(local, written.inputs["input"]) if "input" in written.inputs else None
    if written.arguments.get("widens"):
        found.append(f"{x}.dtype.itemsize >= 4")
    for name in ("weight", "bias"):
        node = written.inputs.get(name)
        if x is not None and node is not None and node.op == "get_attr":
            found.append(f"{x}.dtype == {node.meta['place']}.dtype")
    if any(_name(node) not in _SAME_UNDER_AUTOCAST for node in written.nodes if node.meta.get("shape") is not None):
        device: torch.device = written.root.meta["device"]
        found.append(f"not torch.is_autocast_enabled({device.type!r})")
    if written.op == "attention":
        found += [*_of_masks(local, written), f"{_FORWARD_MODE} < 0"]
    layers = [node for node in written.nodes if node.op == "call_module" and _is_dropout(local, node)]
    found += [f"not {reached(str(node.target))}.training" for node in layers]
    return found


def _of_masks(local: LocalGraph, written: Written) -> list[str]:
    """What masks are computed from has to stay of its kind: a mask of booleans says what to keep, one of numbers is added to the scores.

    It needs as many axes as well, since scores take masks with fewer than two, and the function does not.
    """
    waiting = [node for name, node in written.inputs.items() if name.startswith("attn_mask")]
    found: dict[str, None] = {}
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        place, value = _place(local, node), node.meta["value"]
        if place is not None and isinstance(value, torch.Tensor):
            kind = ".dtype.is_floating_point" if value.is_floating_point() else f".dtype is {value.dtype!r}"
            found |= dict.fromkeys((f"{place}{kind}", f"{place}.dim() == {value.dim()}"))
        fresh = [source for source in node.all_input_nodes if source not in seen]
        seen.update(fresh)
        waiting += fresh
    return list(found)


def _hangs_on_arguments(node: fx.Node) -> bool:
    """Whether a value is computed from arguments or their sizes; their dtypes do not count."""
    waiting, seen = [node], {node}
    while waiting:
        node = waiting.pop()
        if node.op == "placeholder":
            return True
        sources = [each for each in node.args[:1] if isinstance(each, fx.Node)] if is_cast(node) else node.all_input_nodes
        fresh = [source for source in sources if source not in seen]
        seen.update(fresh)
        waiting += fresh
    return False


def _of_shapes(local: LocalGraph, written: Written) -> list[str]:
    """What the shapes of the arguments have to be: those that were recorded, or as many axes where some are counted from the first on."""
    tensors = [(place, local.guards.places.get(node.name), node.meta["value"]) for place, node in enumerate(local.graph.nodes)]
    given = [(place, value) for _, place, value in tensors if place is not None and isinstance(value, torch.Tensor)]
    if written.arguments.get("sizes") == "fixed" or written.arguments.get("scaled_by") == "unclear":
        return [f"{place}.shape == {spelled(value.shape)}" for place, value in given]
    permutes = any(name.endswith("_axes") for name in written.arguments)
    if written.op in _BY_AXES and (permutes or not all(_counts_from_the_last(local, node) for node in written.nodes)):
        return [f"{place}.dim() == {value.dim()}" for place, value in given]
    return []


def _counts_from_the_last(local: LocalGraph, node: fx.Node) -> bool:
    """Whether the axes that a node names, if any, are the same ones of a tensor with more axes ahead."""
    name = _name(node)
    if node.op == "call_module":
        dim = getattr(local.module.get_submodule(str(node.target)), "dim", -1)
        return isinstance(dim, int) and dim < 0
    if name == "getitem":
        return not isinstance(node.args[1], tuple) or node.args[1][:1] == (...,)
    if name not in _WITH_AXES:
        return True
    first = {"norm": 2, "vector_norm": 2, "normalize": 2}.get(name, 1)
    given = [node.kwargs[key] for key in ("dim", "axis") if key in node.kwargs] or list(node.args[first : first + 1])
    if name == "transpose":
        given = [*node.args[1:], *node.kwargs.values()]
    axes = [axis for each in given for axis in (each if isinstance(each, tuple | list) else [each])]
    return bool(axes) and all(isinstance(axis, int) and axis < 0 for axis in axes)


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
