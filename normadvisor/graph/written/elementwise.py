"""Activations written out: one operand, and operations on each of its elements alone.

Nothing is told by how it is spelled. The operations between a node and a single operand are run on a range of numbers in double
precision, and what comes out is compared with the functions of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import fx

from normadvisor.graph.canonical import function_op, module_op
from normadvisor.graph.written.cones import Cone, cones
from normadvisor.graph.written.forms import form_of
from normadvisor.graph.written.model import Surroundings, Written, name_of
from normadvisor.graph.written.values import computed
from normadvisor.types import GROUPS

if TYPE_CHECKING:
    from normadvisor.types import JSONValue

__all__ = ["ELEMENTWISE", "activation_at"]

_ARITHMETIC = frozenset({
    "add", "radd", "sub", "subtract", "rsub", "mul", "multiply", "rmul", "div", "divide", "true_divide", "truediv", "rtruediv", "neg",
    "negative",
})  # fmt: skip
_CURVED = frozenset({
    "pow", "rpow", "square", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "sigmoid", "expit", "tanh", "erf", "erfc",
    "softplus", "relu", "relu6", "clamp", "clip", "clamp_min", "clamp_max",
    "hardtanh", "hardsigmoid", "abs", "absolute", "maximum", "minimum", "where",
    "gt", "ge", "lt", "le", "sign", "logsigmoid", "logaddexp", "sinh", "cosh", "elu", "leaky_relu", "silu", "hardswish",
})  # fmt: skip
ELEMENTWISE = _ARITHMETIC | _CURVED
"""Functions of each element alone, as long as all other operands are numbers."""
_POINTS = torch.cat([torch.linspace(-14, 14, 113, dtype=torch.float64), torch.tensor([-1e-3, 1e-3, -0.1, 0.1], dtype=torch.float64)])
_FAR = torch.tensor([*(sign * size for size in (20, 30, 50, 100, 1e3, 1e4, torch.inf) for sign in (1, -1)), torch.nan], dtype=torch.float64)
"""Where what bounds its argument first, or hides what is no number, is another function."""
TOLERANCE = 2e-7
"""Relative to the larger of 1 and the value: two roundings of single precision. A constant written with seven digits passes, and one with
five, which gives another function, does not."""


class _Function(NamedTuple):
    op: str
    function: str
    reference: Callable[[torch.Tensor], torch.Tensor]
    arguments: Mapping[str, JSONValue]


_FUNCTIONS = (
    _Function("silu", "torch.nn.functional.silu", F.silu, {}),
    _Function("gelu", "torch.nn.functional.gelu", F.gelu, {}),
    _Function("gelu", "torch.nn.functional.gelu", lambda x: F.gelu(x, approximate="tanh"), {"approximate": "tanh"}),
    _Function("mish", "torch.nn.functional.mish", F.mish, {}),
    _Function("softplus", "torch.nn.functional.softplus", F.softplus, {}),
    _Function("hardswish", "torch.nn.functional.hardswish", F.hardswish, {}),
    _Function("hardsigmoid", "torch.nn.functional.hardsigmoid", F.hardsigmoid, {}),
    _Function("log_sigmoid", "torch.nn.functional.logsigmoid", F.logsigmoid, {}),
    _Function("sigmoid", "torch.sigmoid", torch.sigmoid, {}),
    _Function("tanh", "torch.tanh", torch.tanh, {}),
    _Function("relu", "torch.nn.functional.relu", F.relu, {}),
    _Function("relu6", "torch.nn.functional.relu6", F.relu6, {}),
    _Function("selu", "torch.nn.functional.selu", F.selu, {}),
)
_LAYERS = frozenset(GROUPS["activation"]) - {"prelu", "rrelu"}


def activation_at(root: fx.Node, around: Surroundings, known: dict[Any, _Function | None]) -> Written | None:
    """The largest expression that ends in a node and is an activation of torch, of two operations at least.

    Args:
        root: the node.
        around: its graph.
        known: results by the form of an expression, filled in; a model repeats its expressions in every block.

    """
    if not _admitted(root, around):
        return None
    candidates = [cone for cone in cones(root, around, lambda node: _admitted(node, around)) if _is_sound(cone, around)]
    for cone in reversed(candidates):
        form = form_of(cone.nodes, {cone.source: "x"}, around)
        if form not in known:
            known[form] = _identified(cone, around)
        found = known[form]
        if found is not None:
            return Written(
                op=found.op, function=found.function, root=root, inputs={"input": cone.source}, nodes=cone.nodes, arguments=found.arguments
            )  # fmt: skip
    return None


def _admitted(node: fx.Node, around: Surroundings) -> bool:
    if node.op == "call_module":
        module = around.module(node)
        known = module_op(type(module)) if module is not None else None
        is_torch = known is not None and known[1] is type(module) and known[0] in _LAYERS
        return is_torch and len(node.args) == 1 and not node.kwargs and getattr(module, "inplace", False) is not True
    return name_of(node) in ELEMENTWISE and "out" not in node.kwargs and "alpha" not in node.kwargs


def _is_sound(cone: Cone, around: Surroundings) -> bool:
    """Two operations at least, one of them curved, and the operand of the shape and type that comes out."""
    if len(cone.nodes) < 2 or cone.tensors:
        return False
    before, after = around.shape(cone.source), around.shape(cone.root)
    curved = any(node.op == "call_module" or name_of(node) in _CURVED for node in cone.nodes)
    return curved and (before is None or after is None or before == after)


def _identified(cone: Cone, around: Surroundings) -> _Function | None:
    values = computed(cone.nodes, {cone.source: _POINTS.clone()}, around)
    y = values[cone.root] if values is not None else None
    if not isinstance(y, torch.Tensor) or y.shape != _POINTS.shape or y.dtype != torch.float64:
        return None
    called = {_op(node, around) for node in cone.nodes}
    for found in (*_FUNCTIONS, *_with_parameters(y)):
        if found.op in called:
            continue  # It is called already, and the rest changes nothing: relu after relu, a clamp that never bounds.
        if bool(_agree(y, found.reference(_POINTS)).all()):
            return found if _agree_far(cone, found, around) else None
    return None


def _agree(y: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    return (y - expected).abs() <= TOLERANCE * expected.abs().clamp(min=1)


def _agree_far(cone: Cone, found: _Function, around: Surroundings) -> bool:
    """Whether it is the same far away, too, and for what is no number; where the expression overflows, the function need not."""
    values = computed(cone.nodes, {cone.source: _FAR.clone()}, around)
    y = values[cone.root] if values is not None else None
    if not isinstance(y, torch.Tensor):
        return False
    overflows = ~y.isfinite() & ~_FAR.isnan()
    return bool((_agree(y, found.reference(_FAR)) | overflows | (y.isnan() & _FAR.isnan())).all())


def _op(node: fx.Node, around: Surroundings) -> str:
    """Canonical operation of one node."""
    module = around.module(node)
    known = module_op(type(module)) if module is not None else None
    if known is not None:
        return known[0]
    return function_op(node.target)[0] if node.op in {"call_function", "call_method"} else ""


def _with_parameters(y: torch.Tensor) -> list[_Function]:
    """Functions with a parameter that one value gives away."""
    at = int((_POINTS + 14).abs().argmin())  # x = -14, where exp(x) is 1e-6
    low = float(y[at])
    slope, alpha = round(low / -14, 6), round(low / float(torch.expm1(_POINTS[at])), 6)
    found = []
    if 0 < slope < 1:
        leaky = {} if slope == 0.01 else {"negative_slope": slope}
        found.append(_Function("leaky_relu", "torch.nn.functional.leaky_relu", lambda x: F.leaky_relu(x, slope), leaky))
    if alpha > 0:
        given = {} if alpha == 1 else {"alpha": alpha}
        found.append(_Function("elu", "torch.nn.functional.elu", lambda x: F.elu(x, alpha), given))
    return found


