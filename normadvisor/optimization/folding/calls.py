"""Norms and constant factors that are calls in a forward: ``F.batch_norm(x, self.mean, ...)``, ``x * self.gamma``."""

from __future__ import annotations

from torch import fx

from normadvisor.graph.canonical import base_name, spelling
from normadvisor.graph.model import NodeInfo
from normadvisor.graph.record import note_of
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.scaling import BATCH_STATISTICS, ROLES, Affine

__all__ = ["inline_norm", "inline_scale"]

_VIEWS = frozenset({"view", "reshape", "unsqueeze", "getitem", "expand_dims"})


def inline_norm(flow: Flow, node: NodeInfo) -> Affine | str:
    """A call of ``F.batch_norm`` on parameters and buffers as they are stored."""
    call, arguments = flow.fx(node), flow.arguments(node)
    if call is None or call.op != "call_function":
        return "it is a call that cannot be taken out"
    if arguments.get("running_mean") is None or arguments.get("running_var") is None:
        return BATCH_STATISTICS
    if node.training is not False:
        return "it normalizes with the statistics of the batch"
    roles: dict[str, str] = {}
    for name, role in ROLES.items():
        given = arguments.get(name)
        if given is None:
            continue
        key = _key(flow, given, call)
        if not key:
            return f"its {name.replace('_', ' ')} is computed at each call, or read elsewhere"
        roles[role] = key
    eps, rank = arguments.get("eps"), len(node.in_shape or ())
    if not isinstance(eps, int | float) or rank < 2:
        return "its eps is not known"
    found = flow.inline(node)
    if isinstance(found, str):
        return found
    return Affine(
        name=roles["norm.var"].rpartition(".")[0], what="batch_norm", roles=roles, eps=float(eps), channels=(node.in_shape or ())[1],
        axis=1, inline=found,
    )  # fmt: skip


def inline_scale(flow: Flow, node: NodeInfo) -> Affine | str | None:
    """A product, quotient, sum or difference with one stored number for each channel; ``None`` if it is something else."""
    call = flow.fx(node)
    operands = flow.operands(node)
    if call is None or len(operands) != 1 or len(call.args) != 2 or call.kwargs or node.shape != operands[0].shape or node.shape is None:
        return None
    stored = [arg for arg in call.args if isinstance(arg, fx.Node) and _source(arg) is not None]
    if len(stored) != 1 or (node.op in {"sub", "div"} and stored[0] is not call.args[1]):
        return None
    axis = _axis(note_of(stored[0]).shape, node.shape)
    key = _key(flow, stored[0], call)
    if axis is None or not key:
        return None
    found = flow.inline(node)
    if isinstance(found, str):
        return found
    role = {"mul": "norm.weight", "div": "norm.divisor", "add": "norm.bias", "sub": "norm.mean"}[node.op]
    return Affine(
        name=key.rpartition(".")[0], what="affine", roles={role: key}, eps=0.0, channels=node.shape[axis], axis=axis, inline=found
    )


def _axis(stored: tuple[int, ...] | None, shape: tuple[int, ...]) -> int | None:
    """The one axis of a value along which a stored number differs."""
    if stored is None or len(stored) > len(shape):
        return None
    wide = [place for place, size in enumerate(stored) if size > 1]
    if len(wide) != 1:
        return None
    axis = len(shape) - len(stored) + wide[0]
    return axis if shape[axis] == stored[wide[0]] else None


def _source(node: fx.Node) -> fx.Node | None:
    """The parameter or buffer that a value is, or is a view of."""
    while node.op in {"call_function", "call_method"} and base_name(spelling(node.target)[0])[0] in _VIEWS:
        first = node.args[0] if node.args else None
        if not isinstance(first, fx.Node) or len(node.all_input_nodes) != 1:
            return None
        node = first
    return node if node.op == "get_attr" and not str(node.target).rpartition(".")[2].startswith("_tensor_constant") else None


def _key(flow: Flow, given: object, call: fx.Node) -> str:
    """The key of a stored argument that nothing but the call reads; empty otherwise."""
    node = _source(given) if isinstance(given, fx.Node) else None
    if node is None or not isinstance(given, fx.Node):
        return ""
    reader = given
    while True:
        users = list(reader.users)
        if users != [call] and reader is given:
            return ""
        if reader is node:
            break
        reader = reader.all_input_nodes[0]
        if len(reader.users) != 1:
            return ""
    key = str(node.target)
    tensor = flow.tensor(key)
    owner = key.rpartition(".")[0]
    called = any(each.cls and each.module in flow.same(owner) for each in flow.graph.nodes)
    return key if tensor is not None and len(flow.keys(tensor)) == 1 and not called else ""
