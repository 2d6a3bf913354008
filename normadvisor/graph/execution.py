"""The execution tracer: run ``forward`` once and record every call, with the modules and user frames it happened in."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn
from torch.overrides import TorchFunctionMode

from normadvisor.graph.canonical import base_name, spelling
from normadvisor.graph.frames import Frames
from normadvisor.graph.leaves import Leaf, Leaves
from normadvisor.graph.record import KEY, MANY, TENSOR, Note
from normadvisor.graph.signatures import bind
from normadvisor.graph.symbolic import is_norm_call, quick, run_leaf
from normadvisor.graph.values import map_tensors, swapped, tensors_in, to_meta

__all__ = ["Recorder", "record"]

_ATOMS = (bool, int, float, complex, str, type(None), type(Ellipsis), torch.dtype, torch.device, torch.memory_format, torch.layout)
_MAX_ITEMS = 10_000
_SLOW = frozenset({"conv", "conv_transpose", "linear"})
_PRODUCTS = frozenset({
    "linear", "conv1d", "conv2d", "conv3d", "matmul", "__matmul__", "bmm", "mm", "einsum", "_grouped_mm", "grouped_mm",
    "scaled_dot_product_attention",
})  # fmt: skip
_LARGE = 1 << 18
"""Elements from which a product of functions is not computed; smaller ones may hold positions or sizes."""
_DRAWN = 4096
"""Random values drawn for a stand-in; larger ones repeat them."""


class Recorder(TorchFunctionMode):
    """Records calls at the level of torch functions, and of leaf modules, into an :class:`fx.Graph`.

    ``real`` is set when tensors hold real values; then everything is executed but norms, and convolutions and linear
    layers, whose outputs are drawn at random.
    """

    def __init__(
        self, model: nn.Module, leaves: Leaves, frames: Frames, names: Mapping[int, tuple[str, str]], *, real: bool = False
    ) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self._leaves, self._frames, self._names = leaves, frames, names
        self._paths: dict[int, str] = {}
        for name, module in model.named_modules():
            self._paths.setdefault(id(module), name)
        self._stack = [""]
        self._quiet = False
        self._real = real
        self._nodes: dict[int, tuple[weakref.ref[torch.Tensor], fx.Node]] = {}
        self._constants = 0
        self._until = sys._getframe(1)  # noqa: SLF001
        self.entered: set[str] = set()

    # -- tensors and nodes -------------------------------------------------------------------------------------------------

    def bind(self, tensor: torch.Tensor, node: fx.Node) -> None:
        """From now on ``tensor`` is the value of ``node``."""
        self._nodes[id(tensor)] = (weakref.ref(tensor), node)

    def node(self, tensor: torch.Tensor) -> fx.Node:
        """The node whose value ``tensor`` is; a parameter or a constant gets one on first use."""
        key = id(tensor)
        found = self._nodes.get(key)
        if found is not None and found[0]() is tensor:
            return found[1]
        held = self._names.get(key)
        if held is not None:
            target = ".".join(part for part in held if part)
        else:
            target = f"_tensor_constant{self._constants}"
            self._constants += 1
        node = self.graph.create_node("get_attr", target)
        note = node.meta[KEY] = Note(self._stack[-1])
        note.fill(tensor)
        self.bind(tensor, node)
        return node

    def _argument(self, value: Any, depth: int = 8) -> Any:
        """``value`` as an fx argument: tensors by their nodes, and nothing that could not be written down."""
        if isinstance(value, torch.Tensor):
            return self.node(value)
        if isinstance(value, _ATOMS):
            return value
        if depth == 0:
            return repr(type(value))
        if isinstance(value, (list, tuple)):
            items = [self._argument(item, depth - 1) for item in value[:_MAX_ITEMS]]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, Mapping):
            return {str(key): self._argument(item, depth - 1) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(*(self._argument(part, depth - 1) for part in (value.start, value.stop, value.step)))
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return str(value)
        held = list(tensors_in(value, depth - 1))
        return [self.node(tensor) for tensor in held] if held else repr(type(value))

    def _add(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], note: Note, result: Any) -> None:
        # A scripted function has no name of its own in torch 2.6, and the graph would ask for one.
        named = None if isinstance(target, str) or hasattr(target, "__name__") else spelling(target)[0]
        node = self.graph.create_node(
            kind, target, tuple(self._argument(arg) for arg in args), {key: self._argument(value) for key, value in kwargs.items()}, named
        )
        note.fill(result)
        node.meta[KEY] = note
        if note.kind == TENSOR:
            self.bind(result, node)
        elif note.kind == MANY:
            self._bind_items(result, node)

    def _bind_items(self, result: Any, node: fx.Node) -> None:
        """One ``getitem`` node per tensor of a collection."""
        items = result.items() if isinstance(result, Mapping) else enumerate(result) if isinstance(result, (list, tuple)) else ()
        for key, item in items:
            if isinstance(item, (torch.Tensor, list, tuple, dict)) and next(tensors_in(item), None) is not None:
                child = self.graph.create_node("call_function", _getitem, (node, key))
                note = child.meta[KEY] = Note(node.meta[KEY].path)
                note.fill(item)
                if isinstance(item, torch.Tensor):
                    self.bind(item, child)
                else:
                    self._bind_items(item, child)

    # -- calls -------------------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._quiet:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in {"__get__", "__set__"}:
            return self._property(func, name, args)
        if not self._real and is_norm_call(func):
            result: Any = torch.empty_like(args[0] if args else kwargs["input"])
        elif self._real and name in _PRODUCTS and _is_large(args, kwargs):
            result = _stand_in(func, args, kwargs)
        else:
            result = quick(func, args, kwargs)
            if result is None:
                result = func(*args, **kwargs)
        if name == "__setitem__" or (result is None and base_name(name)[1] and args and isinstance(args[0], torch.Tensor)):
            self._record_call(func, name, args, kwargs, args[0], in_place=True)
            return result
        if not isinstance(result, torch.Tensor) and next(tensors_in(result), None) is None:
            return result
        in_place = _is_in_place(func, name, args, kwargs)
        if isinstance(result, torch.Tensor) and not in_place and any(result is tensor for tensor in tensors_in((args, kwargs))):
            result = _alias(result)
        self._record_call(func, name, args, kwargs, result, in_place=in_place)
        return result

    def _property(self, func: Any, kind: str, args: tuple[Any, ...]) -> Any:
        if kind == "__set__":
            func(*args)
            name = func.__self__.__name__
            if name == "data" and isinstance(args[1], torch.Tensor):
                self.bind(args[0], self.node(args[1]))
            return None
        result = func(*args)
        if isinstance(result, torch.Tensor) and result is not args[0]:
            note = Note(self._stack[-1], site=self._frames.site(3, self._until))
            self._add("call_function", getattr, (args[0], func.__self__.__name__), {}, note, result)
        return result

    def _record_call(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any, *, in_place: bool) -> None:
        note = Note(self._stack[-1], site=self._frames.site(3, self._until), in_place=in_place)
        if getattr(torch.Tensor, name, None) is func:
            self._add("call_method", name, args, kwargs, note, result)
        else:
            self._add("call_function", func, args, kwargs, note, result)
        if in_place and isinstance(result, torch.Tensor) and result._base is not None:  # noqa: SLF001 -- views have no public way up
            base = self._nodes.get(id(result._base))  # noqa: SLF001
            if base is not None:
                self.bind(result._base, self._nodes[id(result)][1])  # noqa: SLF001

    def opaque(self, run: Callable[[], Any], target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Record a call that cannot be followed inside as one node."""
        if self._quiet:
            return run()
        self._quiet = True
        try:
            result = run()
        finally:
            self._quiet = False
        if next(tensors_in(result), None) is not None:
            note = Note(self._stack[-1], site=self._frames.site(3, self._until))
            self._add("call_function", target, args, kwargs, note, result)
        return result

    # -- modules -----------------------------------------------------------------------------------------------------------

    def call(self, original: Callable[..., Any], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one module: a leaf is recorded as one node, anything else is followed inside."""
        if self._quiet:
            return original(module, *args, **kwargs)
        path = self._paths.get(id(module))
        if path is not None:
            self.entered.add(path)
        leaf = self._leaves.of(module) if path is not None else None
        self._stack.append(path if path is not None else self._stack[-1])
        try:
            if leaf is None:
                return original(module, *args, **kwargs)
            if not (module._forward_hooks or module._forward_pre_hooks):  # noqa: SLF001
                return self._run_leaf(module, leaf, args, kwargs)
            return self._run_hooked(original, module, leaf, args, kwargs)
        finally:
            self._stack.pop()

    def _run_hooked(self, original: Any, module: nn.Module, leaf: Leaf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a leaf with its hooks around it; only the ``forward`` between them is the operation."""
        held = vars(module).get("forward")
        vars(module)["forward"] = lambda *inner, **named: self._run_leaf(module, leaf, inner, named)
        try:
            return original(module, *args, **kwargs)
        finally:
            if held is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = held

    def _run_leaf(self, module: nn.Module, leaf: Leaf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        site = self._frames.site(3, self._until)
        self._quiet = True
        try:
            result = self._compute(module, leaf, args, kwargs)
            in_place = getattr(module, "inplace", False) is True
            if isinstance(result, torch.Tensor) and not in_place and any(result is tensor for tensor in tensors_in((args, kwargs))):
                result = _alias(result)
        finally:
            self._quiet = False
        note = Note(self._stack[-1], leaf, site, module.training, in_place=in_place)
        self._add("call_module", self._stack[-1], args, kwargs, note, result)
        return result

    def _compute(self, module: nn.Module, leaf: Leaf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._real:
            return run_leaf(module, leaf, args, kwargs)
        if leaf.op in _SLOW:
            with swapped(module, to_meta):
                return _stand_in(partial(type(module).forward, module), args, kwargs)
        if leaf.op.endswith("_norm"):
            # Its shape is that of its input, and it must not refuse what the rules shall report.
            return (args[0] if args else next(iter(kwargs.values()))).clone()
        return type(module).forward(module, *args, **kwargs)

    # -- ends --------------------------------------------------------------------------------------------------------------

    def placeholders(self, named: Mapping[str, Any]) -> None:
        """One ``placeholder`` node per tensor of the inputs."""
        for name, value in named.items():
            held = list(tensors_in(value))
            for index, tensor in enumerate(held):
                node = self.graph.create_node("placeholder", name if len(held) == 1 else f"{name}_{index}")
                note = node.meta[KEY] = Note("")
                note.fill(tensor)
                self.bind(tensor, node)

    def finish(self, result: Any) -> None:
        """Write the ``output`` node."""
        held = list(tensors_in(result))
        value = self.node(held[0]) if isinstance(result, torch.Tensor) else tuple(self.node(tensor) for tensor in held)
        node = self.graph.create_node("output", "output", (value,))
        note = node.meta[KEY] = Note("")
        note.fill(result)


def _getitem(value: Any, key: Any) -> Any:
    return value[key]


_getitem.__module__, _getitem.__name__ = "_operator", "getitem"


def _alias(tensor: torch.Tensor) -> torch.Tensor:
    """The same value as another object, so that an operation that hands its input back still is a node of its own."""
    made: torch.Tensor = torch.ops.aten.alias.default(tensor)
    return made


def _is_large(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return any(tensor.is_floating_point() and tensor.numel() > _LARGE for tensor in tensors_in((args, dict(kwargs))))


def _stand_in(product: Callable[..., torch.Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor:
    """Random values of the shape a product would have: weights are random anyway, and products take most of the time."""
    shaped = product(*map_tensors(args, to_meta), **map_tensors(dict(kwargs), to_meta))
    count = shaped.numel()
    values = torch.randn(min(count, _DRAWN), dtype=shaped.dtype, device="cpu")
    return values.repeat(-(-count // max(1, values.numel())))[:count].view(shaped.shape)


def _is_in_place(func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    if base_name(name)[1] or kwargs.get("inplace") is True or kwargs.get("out") is not None:
        return True
    return any(arg is True for arg in args) and bind(name, spelling(func)[1], args, kwargs).get("inplace") is True


@contextmanager
def _patched(recorder: Recorder) -> Iterator[None]:
    functorch: Any = sys.modules.get("torch._functorch.apis", ModuleType(""))  # torch.vmap lives there, if it was ever asked for
    original = nn.Module.__call__
    script_class: Any = torch._C.ScriptFunction  # noqa: SLF001 -- what torch.jit.script returns for a function
    scripted, mapped = script_class.__call__, getattr(functorch, "vmap_impl", None)

    def call_scripted(function: Any, *args: Any, **kwargs: Any) -> Any:
        return recorder.opaque(lambda: scripted(function, *args, **kwargs), function, args, kwargs)

    def call_mapped(*args: Any, **kwargs: Any) -> Any:
        # The function, three settings and the chunk size come first.
        return recorder.opaque(lambda: mapped(*args, **kwargs), torch.vmap, args[5:], kwargs)  # type: ignore[misc]

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return recorder.call(original, module, args, kwargs)

    nn.Module.__call__ = call  # type: ignore[method-assign]
    script_class.__call__ = call_scripted
    if mapped is not None:
        functorch.vmap_impl = call_mapped
    try:
        yield
    finally:
        if mapped is not None:
            functorch.vmap_impl = mapped
        script_class.__call__ = scripted
        nn.Module.__call__ = original  # type: ignore[method-assign]


def record(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], recorder: Recorder, named: Mapping[str, Any]) -> fx.Graph:
    """Run ``model`` once under ``recorder``. ``named`` are the inputs by the name of the argument.

    Raises:
        Exception: whatever ``forward`` raises.

    """
    recorder.placeholders(named)
    with _patched(recorder), recorder:
        result = model(*args, **kwargs)
    recorder.finish(result)
    return recorder.graph


def changed(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Inputs moved to where the model is traced, one object per tensor."""
    memo: dict[int, torch.Tensor] = {}

    def once(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in memo:
            memo[id(tensor)] = change(tensor)
        return memo[id(tensor)]

    return map_tensors(value, once)
