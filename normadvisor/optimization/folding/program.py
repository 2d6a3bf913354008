"""What a module computes from its own parameters, written down as a list of torch's basic operations, which is plain data.

So a weight that is computed at each call (weight norm, weight standardization, a parametrization of the user's) can be computed once, and
again for a later checkpoint, without the code of the module.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["NotWritten", "run", "written"]

_KNOWN = frozenset({
    "_native_batch_norm_legit", "_native_batch_norm_legit_functional", "_native_batch_norm_legit_no_training", "_softmax", "_to_copy",
    "_unsafe_view", "_weight_norm_interface", "abs", "add", "addcdiv", "addcmul", "addmm", "alias", "amax", "amin", "bmm", "cat",
    "clamp", "clamp_max", "clamp_min", "clone", "cos", "cumsum", "detach", "diag_embed", "diagonal", "div", "dot", "elu", "erf", "exp",
    "expand", "expand_as", "expm1", "eye", "flatten", "flip", "full", "full_like", "ge", "gelu", "gt", "index_select", "le",
    "lift_fresh_copy", "linalg_cross", "linalg_householder_product", "linalg_matrix_exp", "linalg_qr", "linalg_solve_ex",
    "linalg_vector_norm", "log", "log1p", "lt", "matmul", "maximum", "mean", "minimum", "mm", "mul", "mv", "native_batch_norm",
    "native_layer_norm", "neg", "norm", "ones", "ones_like", "outer", "permute", "pow", "prod", "reciprocal", "relu", "repeat",
    "reshape", "round", "rsqrt", "rsub", "scalar_tensor", "select", "sigmoid", "sign", "silu", "sin", "slice", "softplus", "split",
    "split_with_sizes", "sqrt", "square", "squeeze", "stack", "std", "sub", "sum", "t", "tanh", "transpose", "tril", "triu", "unbind",
    "unsqueeze", "var", "var_mean", "vdot", "view", "where", "zeros", "zeros_like",
})  # fmt: skip
"""Operations without side effects of ``torch.ops.aten``; no other is run, whatever a file says."""
_DTYPES = {
    str(dtype): dtype for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.bool)
}


class NotWritten(Exception):  # noqa: N818 -- it says what is the case
    """The computation does something that is no plain operation on tensors."""


def written(compute: Callable[[dict[str, torch.Tensor]], torch.Tensor], values: Mapping[str, torch.Tensor]) -> list[Any]:
    """The operations that ``compute`` does, as JSON.

    Args:
        compute: takes the values by name; run once, on tensors without data.
        values: of the names, shapes and dtypes.

    Raises:
        NotWritten: an operation is not among those that may be stored.

    """
    names = list(values)
    given = [torch.empty_like(values[name], device="meta", requires_grad=False) for name in names]
    try:
        with torch.no_grad():
            traced = make_fx(lambda *tensors: compute(dict(zip(names, tensors, strict=True))))(*given)
    except Exception as error:
        raise NotWritten(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error
    traced.graph.eliminate_dead_code()
    places: dict[fx.Node, Any] = {}
    steps: list[Any] = []
    held = iter(names)
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            places[node] = {"$": next(held)}
        elif node.op == "output":
            return [*steps, ["return", [_argument(node.args[0], places)], {}]]
        elif node.op == "call_function":
            steps.append([_spelled(node.target), _argument(list(node.args), places), _argument(dict(node.kwargs), places)])
            places[node] = {"$": len(steps) - 1}
        else:
            raise NotWritten(f"it reads {node.target}, which is no part of its state")
    raise NotWritten("it gives nothing back")


def _spelled(target: Any) -> str:
    if target is operator.getitem:
        return "getitem"
    space, _, name = str(getattr(target, "_schema", target)).partition("(")[0].partition("::")
    overload = getattr(target, "_overloadname", "default")
    bare = name.partition(".")[0]
    if space != "aten" or bare not in _KNOWN:
        raise NotWritten(f"{space}::{name} cannot be stored")
    return f"{bare}.{overload}"


def _argument(value: Any, places: Mapping[fx.Node, Any]) -> Any:
    if isinstance(value, fx.Node):
        return places[value]
    if isinstance(value, list | tuple):
        return [_argument(item, places) for item in value]
    if isinstance(value, dict):
        # Where the result lies is decided by where the values lie when it is run.
        return {
            key: _argument(item, places) for key, item in value.items() if key not in {"device", "layout", "pin_memory", "memory_format"}
        }
    if isinstance(value, torch.dtype) and str(value) in _DTYPES:
        return {"dtype": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise NotWritten(f"it depends on {type(value).__name__}")


def run(steps: Sequence[Any], values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Do the operations.

    Args:
        steps: from :func:`written`.
        values: by name.

    Raises:
        KeyError: a step is none of the known operations.

    """
    done: list[Any] = []
    device = next(iter(values.values())).device if values else torch.device("cpu")
    with torch.no_grad(), torch.device(device):
        for name, args, kwargs in steps:
            given, named = _filled(args, values, done), _filled(kwargs, values, done)
            if name == "return":
                result: torch.Tensor = given[0]
                return result
            done.append(_operation(name)(*given, **named))
    raise KeyError("return")


def _operation(name: str) -> Callable[..., Any]:
    if name == "getitem":
        return operator.getitem
    bare, _, overload = name.partition(".")
    if bare not in _KNOWN:
        raise KeyError(name)
    if bare in {"view", "_unsafe_view"} and overload == "default":
        return torch.reshape  # Strides are those of this machine's results, not those that were recorded.
    found: Callable[..., Any] = getattr(getattr(torch.ops.aten, bare), overload)
    return found


def _filled(value: Any, values: Mapping[str, torch.Tensor], done: Sequence[Any]) -> Any:
    if isinstance(value, list):
        return [_filled(item, values, done) for item in value]
    if isinstance(value, Mapping):
        if "$" in value:
            return values[value["$"]] if isinstance(value["$"], str) else done[value["$"]]
        if set(value) == {"dtype"} and isinstance(value["dtype"], str):
            return _DTYPES[value["dtype"]]
        return {key: _filled(item, values, done) for key, item in value.items()}
    return value
