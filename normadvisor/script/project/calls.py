"""Follows the calls of code that builds a model: layers of torch, containers, classes and functions of the project."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from normadvisor.script.project.abstract import (
    PLAIN,
    SELF,
    UNKNOWN,
    Abstract,
    Built,
    Call,
    Code,
    Either,
    Items,
    PartialCall,
    Piece,
    Table,
    either,
    holds_unknown,
    options,
    settle,
)
from normadvisor.script.project.builtin_calls import call_builtin, call_item_method
from normadvisor.script.project.contents import Layer
from normadvisor.script.project.deciding import decided_layer
from normadvisor.script.project.evaluate import Evaluator, Frame
from normadvisor.script.project.externals import STANDARD
from normadvisor.script.project.gather import Gather
from normadvisor.script.project.known import contents_of_extern_call
from normadvisor.script.project.layers import CONTAINERS, LAYERS, WRAPPERS
from normadvisor.script.values import Class, Const, Extern

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.types.location import Location

__all__ = ["Caller"]

_MOST_DEPTH = 24
_KEEPERS = frozenset(
    ["to", "cuda", "cpu", "eval", "train", "float", "half", "double", "bfloat16", "apply", "requires_grad_", "to_empty", "type"]
)
_PIECES = frozenset(["children", "named_children", "get_submodule"])
_ADDERS = frozenset(["append", "extend", "insert", "add_module", "register_module", "update"])
_NO_MODULES = frozenset(
    ["numpy", "np", "scipy", "pandas", "sklearn", "einops", "omegaconf", "tqdm", "matplotlib", "cv2", "PIL", "wandb", "yaml"]
)
_PLAIN_LIBRARIES = frozenset(
    ["torchmetrics", "torchinfo", "loguru", "termcolor", "packaging", "typing_extensions", "absl", "huggingface_hub"]
)


class Caller(Evaluator):
    """Expressions with calls."""

    def call(self, frame: Frame, node: ast.Call) -> Abstract:
        """What a call returns; the layers it builds are gathered."""
        function = node.func
        if isinstance(function, ast.Attribute):
            if isinstance(function.value, ast.Call) and isinstance(function.value.func, ast.Name) and function.value.func.id == "super":
                return self.call_super(frame, function.attr, self.arguments(frame, node), frame.module.location(node))
            owner = self.value(frame, function.value)
            handled = self._method(frame, owner, function.attr, node)
            if handled is not None:
                return handled
            callees = either([self.attribute_of(frame, item, function.attr) for item in options(owner)])
        else:
            callees = self.value(frame, function)
        if callees is PLAIN:
            for item in node.args:
                self.value(frame, item)
            return PLAIN
        return self.apply(frame, callees, self.arguments(frame, node), node)

    def apply(self, frame: Frame, callee: Abstract, call: Call, node: ast.Call) -> Abstract:
        """Call a value."""
        if isinstance(callee, Either):
            return self._one_of(frame, callee, call, node)
        if isinstance(callee, PartialCall):
            return self.apply(frame, callee.function, callee.call.joined(call), node)
        if isinstance(callee, Class):
            return self.construct(callee.info, call, frame.module.location(node), frame.depth)
        if isinstance(callee, Code):
            if call.positional[:1] == (SELF,) and callee.owner is not None and not callee.bound:
                callee, call = Code(callee.module, callee.node, callee.owner, bound=True), Call(call.positional[1:], call.named, call.open)
            return self.call_code(frame, callee, call)
        if isinstance(callee, Extern):
            return self._extern(frame, callee.name, call, node)
        return callee if callee is UNKNOWN else PLAIN

    def _one_of(self, frame: Frame, callee: Either, call: Call, node: ast.Call) -> Abstract:
        outer, gathers, values = self.gather, [], []
        try:
            for option in callee.values:
                self.gather = Gather()
                values.append(self.apply(frame, option, call, node))
                gathers.append(self.gather)
        finally:
            self.gather = outer
        outer.alternatives(gathers)
        return either(values)

    def construct(self, info: ClassInfo, call: Call | None, location: Location | None, depth: int) -> Abstract:
        """Build an object of a project class."""
        raise NotImplementedError

    def call_code(self, frame: Frame, callee: Code, call: Call) -> Abstract:
        """Follow a function of the project."""
        raise NotImplementedError

    def call_super(self, frame: Frame, name: str, call: Call, location: Location) -> Abstract:
        """``super().name(...)``."""
        raise NotImplementedError

    def attach(self, value: Abstract) -> None:
        """A value becomes a part of the model: one that nothing is known of makes the whole unknown."""
        settle(value)
        if holds_unknown(value):
            self.gather.unknown()

    def _method(self, frame: Frame, owner: Abstract, name: str, node: ast.Call) -> Abstract | None:
        """A method of something built here; ``None`` if the callee has to be looked up."""
        if owner is SELF:
            return self._own_method(frame, name, node)
        if isinstance(owner, Items | Table):
            if isinstance(owner, Items) and owner.level < self.undecided:
                owner.open = True  # nobody knows whether the path that adds to it is taken
            return call_item_method(owner, name, self.arguments(frame, node))
        if isinstance(owner, Built):
            if name in _ADDERS:
                for value in (*(call := self.arguments(frame, node)).positional, *(item for _, item in call.named)):
                    self.attach(value)
                    values = value.values if isinstance(value, Items) else [value]
                    owner.items.extend(item for item in values if not isinstance(item, Const))
                owner.open = owner.open or self.undecided > 0
                return owner
            if name in _KEEPERS or owner.share is None:
                return owner if name in _KEEPERS else PLAIN
            return Piece(owner.share) if name in _PIECES else PLAIN
        if isinstance(owner, Piece):
            return owner if name in _KEEPERS or name in _PIECES else PLAIN
        if isinstance(owner, Const):
            return call_builtin(self, frame, f"str.{name}", Call((owner, *self.arguments(frame, node).positional))) or PLAIN
        return None

    def _own_method(self, frame: Frame, name: str, node: ast.Call) -> Abstract | None:
        if name in _ADDERS and (frame.info is None or frame.info.method(name) is None):
            for value in self.arguments(frame, node).values():
                self.attach(value)
            return PLAIN
        if name in {"register_buffer", "register_parameter"}:
            return PLAIN
        if name == "__class__" and frame.info is not None:
            return self.apply(frame, Class(frame.info), self.arguments(frame, node), node)
        return None

    def _extern(self, frame: Frame, name: str, call: Call, node: ast.Call) -> Abstract:
        top, _, rest = name.partition(".")
        if top == "builtins" or top in STANDARD:
            if (value := call_builtin(self, frame, rest if top == "builtins" else name, call)) is not None:
                return value
            if name == "builtins.setattr" and call.positional[:1] == (SELF,):
                self.attach(call.positional[-1])
            return PLAIN if name not in WRAPPERS else self._wrapped(frame, name, call, node)
        return self.extern_layer(name, call, frame.module.location(node), name.rpartition(".")[2]) or self._library(frame, name, call, node)

    def extern_layer(self, name: str, call: Call, location: Location, shown: str) -> Abstract | None:
        """A layer class, or a container; ``None`` for anything else."""
        if name in CONTAINERS:
            built = Built(name, location=location, call=call)
            for value in call.positional:
                self.attach(value)
                built.items.extend(self._parts(value))
                built.open = built.open or (isinstance(value, Items | Table) and value.open)
            built.open = built.open or call.open
            return built
        spec = LAYERS.get(name)
        if spec is not None:
            held = decided_layer(spec, call)
            kind = spec.kind if spec.kind == "norm" or held != "no" else "norm"
            layer = Layer(shown, location, kind)  # type: ignore[arg-type]
            if spec.kind != "dropout" or held != "no":
                self.gather.add(layer, held)
            return Built(name, layer=layer if held != "no" else None, location=location, call=call)
        if name.startswith("torch.nn.") and "." not in name[9:] and name[9:10].isupper() and name not in WRAPPERS:
            return Built(name, location=location, call=call)
        return None

    def _parts(self, value: Abstract) -> list[Abstract]:
        if isinstance(value, Items):
            return [item.values[-1] if isinstance(item, Items) and _is_pair(item) else item for item in value.values]
        return list(value.values.values()) if isinstance(value, Table) else [value]

    def _wrapped(self, frame: Frame, name: str, call: Call, node: ast.Call) -> Abstract:
        if kind := WRAPPERS[name]:
            self.gather.add(Layer(name.rpartition(".")[2], frame.module.location(node), kind), "yes")  # type: ignore[arg-type]
        return call.positional[0] if call.positional else PLAIN

    def _library(self, frame: Frame, name: str, call: Call, node: ast.Call) -> Abstract:
        if name in WRAPPERS:
            return self._wrapped(frame, name, call, node)
        contents = contents_of_extern_call(name, call)
        if contents is not None:
            return Built(name, contents, location=frame.module.location(node), call=call, share=self.gather.share(contents))
        top = name.partition(".")[0]
        if top in _NO_MODULES and not name.startswith("einops.layers"):
            return PLAIN
        if top in _PLAIN_LIBRARIES or name.startswith("einops.layers"):
            return Built(name)
        if top == "torch":
            return UNKNOWN if name.startswith(("torch.hub.", "torch.jit.load", "torch.load")) else PLAIN
        if top in {"timm", "torchvision"} and _is_helper(name):
            return PLAIN
        return UNKNOWN


def _is_pair(value: Items) -> bool:
    return len(value.values) == 2 and isinstance(value.values[0], Const)


def _is_helper(name: str) -> bool:
    return name.rpartition(".")[2] in _HELPERS


_HELPERS = frozenset(
    ["to_2tuple", "to_ntuple", "trunc_normal_", "lecun_normal_", "make_divisible", "checkpoint_seq", "named_apply", "init_weights"]
)
