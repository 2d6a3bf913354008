"""Runs a part of a graph in double precision, with its casts lifted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import fx

from normadvisor.graph.canonical import base_name, function_op, spelling
from normadvisor.graph.record import KEY, TENSOR

__all__ = ["CannotEvaluate", "called", "dtype_of", "evaluated", "is_cast", "is_fixed", "is_in_place", "is_tensor", "number_of", "shape_of"]


class CannotEvaluate(Exception):  # noqa: N818 -- it says what is the case
    """A node needs what is not known, or does not run on these values."""


def called(node: fx.Node) -> str:
    """The bare name of the function or method that a node calls, whether it works in place or not: ``softmax``, ``masked_fill``."""
    return base_name(spelling(node.target)[0])[0] if node.op in {"call_function", "call_method"} else ""


def is_in_place(node: fx.Node) -> bool:
    """Whether a call writes into its first operand."""
    if node.op not in {"call_function", "call_method"}:
        return False
    return base_name(spelling(node.target)[0])[1] or node.kwargs.get("inplace") is True or node.kwargs.get("out") is not None


def shape_of(node: fx.Node) -> tuple[int, ...] | None:
    """Shape of the value of a node, ``None`` if it is no tensor or was not computed."""
    note = node.meta.get(KEY)
    shape = node.meta.get("shape") if note is None else note.shape if note.kind == TENSOR else None
    return tuple(shape) if shape is not None else None


def dtype_of(node: fx.Node) -> str | None:
    """Its dtype: ``float32``; ``None`` if it is no tensor or was not computed."""
    note = node.meta.get(KEY)
    dtype = node.meta.get("dtype") if note is None else note.dtype if note.kind == TENSOR else None
    return None if dtype is None else str(dtype).removeprefix("torch.")


def is_tensor(node: fx.Node) -> bool:
    """Whether the value of a node is known to be one tensor."""
    return shape_of(node) is not None


def is_cast(node: fx.Node) -> bool:
    """Whether a node does nothing but change the dtype or the device."""
    return node.op in {"call_function", "call_method"} and function_op(node.target)[0] == "cast"


def number_of(node: fx.Node) -> Any:
    """The number, size or dtype that a node computes, as far as the shapes tell; ``None`` where they do not."""
    if "value" in node.meta:
        return node.meta["value"]
    args = [number_of(arg) if isinstance(arg, fx.Node) and not is_tensor(arg) else arg for arg in node.args]
    first = args[0] if args else None
    if isinstance(first, fx.Node):
        shape = shape_of(first)
        if shape is None:
            return None
        if called(node) == "size":
            return shape[args[1]] if len(args) > 1 and isinstance(args[1], int) else shape
        return shape if node.target is getattr and args[1] == "shape" else None
    if node.op != "call_function" or node.kwargs or any(arg is None for arg in args):
        return None
    try:
        return node.target(*args)  # type: ignore[operator] # a function, by the kind of the node
    except Exception:  # noqa: BLE001 -- of numbers that are not what it is meant for
        return None


def is_fixed(node: fx.Node) -> bool:
    """Whether the source says that a value has single precision at least, rather than the dtype of what it is computed from."""
    waiting, seen = [node], {node}
    while waiting:
        node = waiting.pop()
        if node.op not in {"call_function", "call_method"}:
            continue
        if is_cast(node):
            wanted = [*node.args[1:], *node.kwargs.values()]
            dtypes = {each for each in wanted if isinstance(each, torch.dtype)}
            if called(node) in {"float", "double"} or dtypes & {torch.float32, torch.float64}:
                return True
            continue
        fresh = [each for each in node.all_input_nodes if each not in seen]
        seen.update(fresh)
        waiting += fresh
    return False


def evaluated(nodes: Iterable[fx.Node], values: Mapping[fx.Node, Any]) -> Any:
    """The value of the last of ``nodes``.

    Args:
        nodes: calls of torch functions and methods, in the order of their graph; nothing is taken from anywhere else.
        values: of the nodes that they read; floating-point tensors in float64, on the CPU.

    Raises:
        CannotEvaluate: something is missing, or an operation refuses its arguments.

    """
    env = {node: value.clone() if isinstance(value, torch.Tensor) else value for node, value in values.items()}
    result: Any = None
    for node in nodes:
        try:
            result = env[node] = _run(node, env)
        except Exception as error:  # any operation may refuse its arguments, with any error
            message = f"{node.name}: {type(error).__name__}: {error}"
            raise CannotEvaluate(message) from error
    return result


def _run(node: fx.Node, env: Mapping[fx.Node, Any]) -> Any:
    if is_cast(node):
        return _cast(node, env)
    args: Any = fx.node.map_arg(node.args, lambda source: env[source])
    kwargs: Any = {key: _lifted(key, fx.node.map_arg(value, lambda source: env[source])) for key, value in node.kwargs.items()}
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    if node.op != "call_function":
        message = f"a {node.op} cannot be run here"
        raise CannotEvaluate(message)
    result = node.target(*args, **kwargs)  # type: ignore[operator] # a function, by the kind of the node
    if isinstance(result, torch.Tensor) and result.is_floating_point():
        return result.double()
    return result


def _lifted(key: str, value: Any) -> Any:
    if key == "dtype" and isinstance(value, torch.dtype) and value.is_floating_point:
        return torch.float64
    return "cpu" if key == "device" else value


def _cast(node: fx.Node, env: Mapping[fx.Node, Any]) -> Any:
    """The value itself, unless it becomes an integer or stops being one."""
    source: Any = node.args[0]
    value = env[source] if isinstance(source, fx.Node) else source
    name = called(node)
    if name in {"long", "int", "short", "char", "byte", "bool"}:
        return getattr(value, name)()
    wanted = [*node.args[1:], *node.kwargs.values()]
    for each in wanted:
        if isinstance(each, torch.dtype) and not each.is_floating_point:
            return value.to(each)
    return value.double() if isinstance(value, torch.Tensor) else value
