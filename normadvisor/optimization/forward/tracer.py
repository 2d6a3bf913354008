"""Follows the forward of one module with stand-ins for its tensors, and writes down what it does."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import fx, nn

from normadvisor.graph.canonical import is_torch
from normadvisor.graph.frames import Frames, is_user_file
from normadvisor.graph.values import swapped, to_meta
from normadvisor.optimization.forward.asking import Asking
from normadvisor.optimization.forward.guards import (
    ABSENT,
    AS_TRACED,
    ATTRIBUTE,
    ORIGINAL,
    PASSED_BY,
    TENSORS,
    Guards,
    Reference,
    bare,
    is_plain,
    reached,
    written,
)
from normadvisor.optimization.forward.outside import Outside
from normadvisor.optimization.forward.record import Call, Opaque
from normadvisor.optimization.forward.state import first_line, modes, on_meta, tensor_paths
from normadvisor.optimization.forward.traced import Traced
from normadvisor.optimization.forward.watching import Watch

__all__ = ["NotTraceable", "Tracer"]

_READS = frozenset({
    "item", "tolist", "numpy", "cpu", "cuda", "nonzero", "data_ptr", "storage", "untyped_storage", "backward", "register_hook",
})  # fmt: skip
"""Methods of a tensor that want its values or its memory."""
_ATTRIBUTES_OF_DEVICE = {"device": lambda device: device, "is_cuda": lambda device: device.type == "cuda"}
_INTERNAL = frozenset(vars(nn.Module())) - {"training"}
_PRIVATE = frozenset({"__dict__", "_parameters", "_buffers"})
_MATH = frozenset({"_operator", "builtins", "math"})


class NotTraceable(Exception):  # noqa: N818 -- it says what is the case
    """The forward does something that no graph can hold."""


class Tracer(Asking):
    """Traces one call of one module."""

    def __init__(self, call: Call, frames: Frames) -> None:
        self.module = call.module
        self.graph = fx.Graph()
        self.guards = Guards()
        self.quiet = False
        """Whether torch's own code is at work, whose questions are nobody's business."""
        self._call, self._frames = call, frames
        self.device = call.device
        self._children = iter(call.children)
        self._paths: dict[int, str] = {}
        for path, module in call.module.named_modules():
            self._paths.setdefault(id(module), path)
        self._tensors = tensor_paths(call.module)
        self._held: dict[str, Traced] = {}
        self.inputs: dict[fx.Node, str] = {}
        self._modes: tuple[Any, ...] = ()
        self._refused = ""
        self.watch = Watch(self)
        self.until: FrameType | None = None
        """The frame that the forward is called in."""
        self.ranks = False

    # -- the whole -----------------------------------------------------------------------------------------------------------

    def trace(self) -> fx.Graph:
        """The graph of the forward; guards are in :attr:`guards`.

        Raises:
            NotTraceable: the forward cannot be followed.
            Exception: whatever the forward raises on stand-ins.

        """
        self.until = sys._getframe()  # noqa: SLF001 -- the documented way to tell where the user's frames end
        self._modes = modes(self.device)
        forward = type(self.module).forward
        self._reserve("self", "torch", ABSENT, AS_TRACED, ATTRIBUTE, ORIGINAL, PASSED_BY, TENSORS)
        args, kwargs = self._arguments(forward)
        self._reserve(*{*_names(forward)} - {node.name for node in self.inputs})
        with Outside(self, self.watch) as outside:
            result = forward(self.module, *args, **kwargs)
            outside.settle()
        if self._refused:  # and the forward has caught it
            self.refuse(self._refused)
        node = self.graph.create_node("output", "output", (self._argument(result),))
        self._note(node, None)
        if self.guards.exact:
            self._pin(shapes=True)
        elif self.ranks:
            self._pin(shapes=False)
        self.guards.places = {node.name: place for node, place in self.inputs.items()}
        return self.graph

    def _reserve(self, *names: str) -> None:
        """No node may take the name of a variable."""
        for name in sorted(names):
            self.graph._graph_namespace.create_name(name, None)  # noqa: SLF001 -- fx has no public word for it

    def _arguments(self, forward: Callable[..., Any]) -> tuple[list[Any], dict[str, Any]]:
        try:
            signature = inspect.signature(forward)
            bound = signature.bind(self.module, *self._call.args, **self._call.kwargs)
        except (TypeError, ValueError) as error:
            self.refuse(f"its arguments cannot be told: {error}")
        bound.apply_defaults()
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for index, (name, value) in enumerate(bound.arguments.items()):
            parameter = signature.parameters[name]
            if index == 0:
                continue
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and index > len(self._call.args):
                taken = self._taken_in(value, name, name)
                if name in self._call.kwargs:
                    kwargs[name] = taken
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                self.guards.add(f"len({name}) == {len(value)}")
                args += [self._taken_in(item, f"{name}[{place}]", f"{name}_{place}") for place, item in enumerate(value)]
            elif parameter.kind is parameter.VAR_KEYWORD:
                self.guards.add(f"{name}.keys() == {_set(value)}" if value else f"not {name}")
                kwargs.update({key: self._taken_in(item, f"{name}[{key!r}]", key) for key, item in value.items()})
            elif parameter.kind is parameter.KEYWORD_ONLY:
                taken = self._taken_in(value, name, name)
                if name in self._call.kwargs:
                    kwargs[name] = taken
            else:
                args.append(self._taken_in(value, name, name))
        return args, kwargs

    def _taken_in(self, value: Any, place: str, name: str) -> Any:
        """An argument: tensors become placeholders, plain values are demanded to be the same."""
        if isinstance(value, torch.Tensor):
            self.guards.add(f"isinstance({place}, {TENSORS})")
            return self._placeholder(value, place, name)
        if is_plain(value):
            self.guards.constant(place, value)
            return value
        if type(value) in {tuple, list}:
            self.guards.add(f"type({place}) is {type(value).__name__} and len({place}) == {len(value)}")
            return type(value)(self._taken_in(item, f"{place}[{index}]", f"{name}_{index}") for index, item in enumerate(value))
        if type(value) is dict and all(isinstance(key, str) for key in value):
            self.guards.add(f"type({place}) is dict and {place}.keys() == {_set(value)}" if value else f"{place} == {{}}")
            return {key: self._taken_in(item, f"{place}[{key!r}]", f"{name}_{key}") for key, item in value.items()}
        if isinstance(value, (type, nn.Module)) or callable(value):
            self.guards.add(f"{place} is {self.guards.name(value)}")
            return value
        cls = value.cls if isinstance(value, Opaque) else type(value)
        self.guards.add(f"isinstance({place}, {self.guards.name(cls)})")
        return self._placeholder(value, place, name)

    def _placeholder(self, value: Any, place: str, name: str) -> Traced:
        node = self.graph.create_node("placeholder", name if name.isidentifier() else "argument")
        self._note(node, value)
        self.inputs[node] = place
        return Traced(node, self)

    def _pin(self, *, shapes: bool) -> None:
        """Demand that all tensors among the arguments have as many axes as they had, or the same sizes."""
        for node, place in self.inputs.items():
            value = node.meta["value"]
            if isinstance(value, torch.Tensor) and not shapes:
                self.guards.add(f"{place}.dim() == {value.dim()}")
            elif isinstance(value, torch.Tensor):
                self.guards.add(f"{place}.shape == {written(value.shape)}")
                self.guards.add(f"{place}.dtype is {value.dtype!r}")

    # -- calls ---------------------------------------------------------------------------------------------------------------

    def call(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Record a call and compute its result on the meta device."""
        if self.quiet:
            self.refuse("hands a tensor to code that cannot be followed")
        if kind == "call_function" and not is_torch(target) and Reference.of(target) is None:
            self.refuse(f"calls {getattr(target, '__qualname__', target)!s}, which cannot be followed")
        if kind == "call_method" and target in _READS:
            self.refuse(f"reads values of a tensor ({target})")
        if modes(self.device) != self._modes:
            self.refuse("sets grad mode or autocast for a part of itself")
        written_args, written_kwargs = self._argument(tuple(args)), self._argument(dict(kwargs))
        value = self._computed(kind, target, args, kwargs)
        return self._recorded(kind, target, written_args, written_kwargs, value)

    def _recorded(self, kind: str, target: Any, args: Any, kwargs: Any, value: Any) -> Any:
        node = self.graph.create_node(kind, target, args, kwargs)
        self._note(node, value)
        if isinstance(value, str):
            self.demand(node, value, "")
        return value if value is None or isinstance(value, str) else Traced(node, self)

    def _note(self, node: fx.Node, value: Any) -> None:
        is_tensor = isinstance(value, torch.Tensor)
        site = None if node.op in {"placeholder", "output", "get_attr"} else self._frames.site(3, self.until)
        node.meta.update(
            value=value,
            shape=tuple(value.shape) if is_tensor else None,
            stride=value.stride() if is_tensor and value.layout is torch.strided else None,
            dtype=value.dtype if is_tensor else None,
            device=self.device,
            site=site,
            line=site.location.line if site is not None else None,
        )

    def _computed(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        values, named = self._values(args), self._values(dict(kwargs))
        if target is getattr and isinstance(values[0], torch.Tensor) and values[1] in _ATTRIBUTES_OF_DEVICE:
            return _ATTRIBUTES_OF_DEVICE[values[1]](self.device)
        if target is not getattr and getattr(target, "__module__", "") not in _MATH:
            values, named = on_meta(values), on_meta(named)
        self.quiet = True
        try:
            with torch.device("meta"), ExitStack() as stack:
                for layer in (each for each in values if isinstance(each, nn.Module)):
                    stack.enter_context(swapped(layer, to_meta))
                if kind == "call_method":
                    return getattr(values[0], target)(*values[1:], **named)
                return target(*values, **named)
        except NotTraceable:
            raise
        except Exception as error:  # noqa: BLE001 -- what an operation raises on tensors without data
            self.refuse(f"{getattr(target, '__name__', target)} does not run without data: {first_line(error)}")
        finally:
            self.quiet = False

    def owns(self, module: nn.Module) -> bool:
        """Whether a module is the one that is traced, or a part of it, and its own code is at work."""
        return not self.quiet and id(module) in self._paths

    def child(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Record a call of a child; its result is the one that it had."""
        path = self._paths.get(id(module))
        if path is None and type(module).__module__.startswith("torch.nn.modules.") and next(module.parameters(), None) is None:
            return type(module).forward(module, *args, **kwargs)  # made while it runs: nn.Softmax(dim=-1)(scores)
        if path is None or module is self.module:
            self.refuse(f"calls a {type(module).__name__} that is no part of it")
        if isinstance(module, torch.jit.ScriptModule):
            self.refuse(f"calls {path}, which is scripted")
        ran, value = next(self._children, (None, None))
        if ran is not module:
            self.refuse(f"calls {path} otherwise than it did before")
        if modes(self.device) != self._modes:
            self.refuse("sets grad mode or autocast for a part of itself")
        result = self._recorded("call_module", path, self._argument(tuple(args)), self._argument(dict(kwargs)), value)
        return self._opened(result) if type(value) is tuple else result

    def _opened(self, result: Traced) -> Any:
        """A tuple of results as a tuple, so that code which looks at what it was given sees one."""
        return tuple(result[index] for index in range(len(result._value)))  # noqa: SLF001

    # -- values --------------------------------------------------------------------------------------------------------------

    def _values(self, value: Any) -> Any:
        if type(value) is Traced:
            return value._value  # noqa: SLF001
        if type(value) in {list, tuple}:
            return type(value)(self._values(item) for item in value)
        if isinstance(value, torch.Size):
            return value
        if type(value) is dict:
            return {key: self._values(item) for key, item in value.items()}
        if type(value) is slice:
            return slice(self._values(value.start), self._values(value.stop), self._values(value.step))
        return value

    def _argument(self, value: Any) -> Any:
        """A value as fx writes arguments: stand-ins by their nodes."""
        if type(value) is Traced:
            return value._node  # noqa: SLF001
        if type(value) is torch.Tensor or isinstance(value, torch.Tensor):
            self.refuse("uses a tensor that is no parameter or buffer of the module")
        if type(value) in {list, tuple}:
            return type(value)(self._argument(item) for item in value)
        if type(value) is dict:
            return {key: self._argument(item) for key, item in value.items()}
        if type(value) is slice:
            return slice(self._argument(value.start), self._argument(value.stop), self._argument(value.step))
        if is_plain(value):
            return bare(value)
        if isinstance(value, nn.Module) and self._paths.get(id(value)):
            return self._layer(value)
        return self.refuse(f"uses a {type(value).__name__}, which no graph can hold")

    def _layer(self, module: nn.Module) -> fx.Node:
        """A layer that is handed to a function."""
        path = self._paths[id(module)]
        if path not in self._held:
            node = self.graph.create_node("get_attr", path)
            self._note(node, module)
            self._held[path] = Traced(node, self)
        return self._held[path]._node  # noqa: SLF001

    def held(self, module: nn.Module, name: str, value: Any) -> Any:
        """What the forward reads from a module: a tensor becomes a node, a setting a guard."""
        if self.quiet:
            return value
        path, place = self._paths.get(id(module)), self.place_of(module)
        if place is None:
            return value
        if isinstance(value, torch.Tensor) and path is not None:
            return self._tensor(module, name, value)
        if name == "_modules":
            self.guards.add(f"len({place}._modules) == {len(value)}")
        elif name in _PRIVATE and is_user_file(sys._getframe(2).f_code.co_filename):  # noqa: SLF001 -- the documented way
            self.refuse(f"looks into {name} of a {type(module).__name__}")
        elif name not in _INTERNAL and not name.startswith("__"):
            return self.watch.attribute(module, name, value, place)
        return value

    def place_of(self, holder: Any) -> str | None:
        """The expression that leads to a module or to another object that is watched."""
        path = self._paths.get(id(holder))
        return self.watch.place_of(holder) if path is None else reached(path)

    def absent(self, module: nn.Module, name: str) -> None:
        """Note that a module has no attribute of that name."""
        place = None if self.quiet else self.place_of(module)
        if place is not None:
            self.watch.absent(module, name, place)

    def _tensor(self, module: nn.Module, name: str, value: torch.Tensor) -> Traced:
        path, place = self._tensors.get(id(value), ("", ""))
        if not path:
            self.refuse(f"uses {name} of a {type(module).__name__}, which is made while it runs")
        if path not in self._held:
            node = self.graph.create_node("get_attr", path)
            self._note(node, to_meta(value))
            node.meta["place"] = place
            self._held[path] = Traced(node, self)
        return self._held[path]

    def forget(self, count: int) -> None:
        """Drop calls beyond so many nodes: they were made to look at operands."""
        for node in reversed(list(self.graph.nodes)[count:]):
            if node.op.startswith("call_") and not node.users:
                self.graph.erase_node(node)

    def attribute(self, traced: Traced, name: str) -> Any:
        """``traced.name``: a method to be called, or a value."""
        value = traced._value  # noqa: SLF001
        if isinstance(value, Opaque):
            self.refuse(f"uses a {value.cls.__name__}, which cannot be copied")
        found = getattr(value, name)
        if callable(found) and not isinstance(found, torch.Tensor):
            return lambda *args, **kwargs: self.call("call_method", name, (traced, *args), kwargs)
        return self.call("call_function", getattr, (traced, name), {})

    def refuse(self, why: str) -> NoReturn:
        """Give up."""
        self._refused = self._refused or why
        raise NotTraceable(why)


def _set(keys: Iterable[str]) -> str:
    return "{" + ", ".join(repr(key) for key in sorted(keys)) + "}"


def _names(forward: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(forward).parameters)
    except (TypeError, ValueError):
        return []
