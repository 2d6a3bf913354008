"""The symbolic tracer: follow ``forward`` with proxies, then compute shapes once on tensors without data."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError as FxTraceError

from normadvisor.graph.canonical import NORMS, base_name, function_op, is_torch, spelling
from normadvisor.graph.frames import Frames
from normadvisor.graph.leaves import Leaves, foreign_hooks
from normadvisor.graph.record import KEY, Note, note_of
from normadvisor.graph.values import map_tensors, to_meta
from normadvisor.types import GROUPS

__all__ = ["NotSymbolic", "run_shapes", "trace_symbolic"]


class NotSymbolic(Exception):  # noqa: N818 -- not an error: the other tracer takes over
    """This model cannot be followed with proxies."""


class _Tracer(fx.Tracer):
    """fx's tracer with our leaves; every node knows its module and its site."""

    proxy_buffer_attributes = True

    def __init__(self, model: nn.Module, leaves: Leaves, frames: Frames, names: Mapping[int, tuple[str, str]]) -> None:
        super().__init__()
        self._leaves, self._frames, self._names = leaves, frames, names
        self._paths = {id(module): name for name, module in model.named_modules()}
        self._stack = [""]
        self._leaf: tuple[nn.Module, Any] | None = None
        self._until = sys._getframe(1)  # noqa: SLF001

    def path_of_module(self, mod: nn.Module) -> str:
        return str(self._paths[id(mod)])

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        path = self._paths.get(id(m))
        leaf = self._leaves.of(m) if path is not None else None
        if leaf is not None and path is not None:
            if foreign_hooks(m):
                message = f"hooks on {path}"
                raise NotSymbolic(message)
            self._leaf = (m, leaf)
            self._stack.append(path)
            try:
                return self.create_proxy("call_module", path, args, kwargs)
            finally:
                self._stack.pop()
        self._stack.append(path if path is not None else self._stack[-1])
        try:
            return forward(*args, **kwargs)
        finally:
            self._stack.pop()

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:  # noqa: ARG002 -- fx's signature
        if isinstance(attr_val, torch.Tensor) and id(attr_val) in self._names:
            module, name = self._names[id(attr_val)]
            path = f"{module}.{name}" if module else name
            if path not in parameter_proxy_cache:
                parameter_proxy_cache[path] = self.create_proxy("get_attr", path, (), {})
            return parameter_proxy_cache[path]
        return attr_val

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None) -> fx.Node:
        if kind == "call_function" and not is_torch(target):
            message = f"opaque function {target!r}"
            raise NotSymbolic(message)
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        note = Note(self._stack[-1])
        if kind == "call_module" and self._leaf is not None:
            note.training, note.leaf = self._leaf[0].training, self._leaf[1]
        if kind not in {"placeholder", "output", "get_attr"}:
            note.site = self._frames.site(2, self._until)
        node.meta[KEY] = note
        return node


def _arguments(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, shapes: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensor arguments by name, and the concrete values of all others."""
    try:
        signature = inspect.signature(model.forward)
        bound = signature.bind(*args, **kwargs) if shapes else signature.bind_partial()
    except (TypeError, ValueError) as error:
        raise NotSymbolic(str(error)) from error
    given: dict[str, Any] = {}
    concrete: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise NotSymbolic(name)
        value = bound.arguments.get(name, parameter.default)
        if isinstance(value, torch.Tensor) or value is parameter.empty:
            given[name] = value
        elif value is None or isinstance(value, (bool, int, float, str)):
            concrete[name] = value
        else:
            raise NotSymbolic(name)
    return given, concrete


def trace_symbolic(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    leaves: Leaves,
    frames: Frames,
    names: Mapping[int, tuple[str, str]],
    *,
    shapes: bool = True,
) -> tuple[fx.Graph, dict[str, Any]]:
    """The graph of ``model`` and the values of its placeholders. Without ``shapes`` every required argument is a tensor.

    Raises:
        NotSymbolic: ``forward`` reads values, has variable arguments, or otherwise cannot be followed with proxies.

    """
    if leaves.of(model) is not None:
        raise NotSymbolic("the model itself is one operation")
    given, concrete = _arguments(model, args, kwargs, shapes=shapes)
    tracer = _Tracer(model, leaves, frames, names)
    try:
        graph = tracer.trace(model, concrete_args=concrete or None)
    except NotSymbolic:
        raise
    except (FxTraceError, Exception) as error:  # any error of user code under proxies: the execution tracer decides
        message = f"{type(error).__name__}: {error}"
        raise NotSymbolic(message) from error
    return graph, {**given, **concrete}


def run_shapes(graph: fx.Graph, model: nn.Module, values: Mapping[str, Any]) -> None:
    """Run the graph once on tensors without data and write shapes and dtypes into the notes; norms are not executed.

    Raises:
        Exception: whatever an operation raises on inputs of the wrong shape.

    """
    modules = dict(model.named_modules())
    env: dict[fx.Node, Any] = {}
    uses = {node: len(node.users) for node in graph.nodes}
    with torch.no_grad(), torch.device("meta"):
        for node in graph.nodes:
            env[node] = value = _run(node, model, modules, values, env)
            note_of(node).fill(value)
            for source in node.all_input_nodes:
                uses[source] -= 1
                if not uses[source]:
                    env.pop(source, None)


_CHECKS = {getattr(torch, "_assert", None), getattr(torch.fx._symbolic_trace, "_assert_is_none", None)} - {None}  # noqa: SLF001
"""What fx writes for arguments that are no tensors: they hold by construction."""


def _run(node: fx.Node, model: nn.Module, modules: Mapping[str, nn.Module], values: Mapping[str, Any], env: dict[fx.Node, Any]) -> Any:
    if node.op == "placeholder":
        return map_tensors(values.get(str(node.target)), to_meta)
    if node.target in _CHECKS:
        return None
    if node.op == "get_attr":
        found: Any = model
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return map_tensors(found, to_meta)
    args = fx.node.map_arg(node.args, lambda source: env[source])
    kwargs = fx.node.map_arg(node.kwargs, lambda source: env[source])
    if node.op == "output":
        return args[0]
    if node.op == "call_module":
        return run_leaf(modules[str(node.target)], note_of(node).leaf, args, kwargs)
    made = quick(node.target, args, kwargs)
    if made is not None:
        return made
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    if is_norm_call(node.target):
        first: Any = args[0] if args else kwargs["input"]
        return torch.empty_like(first)
    return node.target(*args, **kwargs)  # type: ignore[operator]


@lru_cache(maxsize=4096)
def is_norm_call(target: Any) -> bool:
    """Whether a call is a normalization that returns one tensor shaped as its input, so that it need not be executed."""
    if isinstance(target, str) or function_op(target)[0] not in NORMS:
        return False
    name, written = spelling(target)
    return written.startswith(("torch.nn.functional.", "torch.")) and not base_name(name)[0].startswith(("native_", "_", "cudnn"))


_SAME_SHAPE = frozenset(GROUPS["activation"]) - {"prelu"} | {"dropout", "identity"}
_SAME_SHAPE_JOINS = frozenset({"add", "sub", "mul", "div"})


def quick(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    """Result of an elementwise call on tensors without data, or None when the call has to be made.

    The kernels that would compute this shape are slow Python functions, and most calls of a model are of this kind.
    """
    if kwargs or not args or not _without_data(args[0]):
        return None
    op, in_place = function_op(target)
    first, *rest = args
    if in_place or target is getattr:
        return None
    if op in _SAME_SHAPE and not rest and op != "dropout" and isinstance(first, torch.Tensor):
        return torch.empty_like(first)
    if op not in _SAME_SHAPE_JOINS or len(rest) != 1 or not _without_data(rest[0]):
        return None
    return torch.empty_like(first) if (rest[0].shape, rest[0].dtype) == (first.shape, first.dtype) else None


def _without_data(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == "meta" and value.is_floating_point()


def run_leaf(module: nn.Module, leaf: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Output of a leaf module on tensors without data. Norms and recognised modules are not executed."""
    if leaf is not None and (leaf.op in NORMS or leaf.recognised):
        source = args[0] if args else next(iter(kwargs.values()))
        return source if not isinstance(source, torch.Tensor) else torch.empty_like(source)
    if leaf is not None and leaf.op in _SAME_SHAPE and len(args) == 1 and not kwargs and _without_data(args[0]):
        return args[0] if getattr(module, "inplace", False) is True else torch.empty_like(args[0])
    # Not module.forward: while hooks run around a leaf, that is the recorder.
    return type(module).forward(module, *args, **kwargs)
