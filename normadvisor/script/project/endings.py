"""How a forward ends: which activation makes every output, and whether a BatchNorm sees one value per sample. Local data flow only."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from normadvisor.script.project.abstract import PLAIN, SELF, Abstract, Built, Code, Either, Items, truth
from normadvisor.script.project.evaluate import Frame
from normadvisor.script.project.layers import CONTAINERS, LAYERS, PASS_THROUGH_LAYERS, function_activation, layer_activation
from normadvisor.script.project.nodes import walk
from normadvisor.script.values import Const, Extern
from normadvisor.types.location import Location

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.project.construct import Builder
    from normadvisor.script.project.contents import Contents, Held

__all__ = ["Tensor", "function_ending", "with_ending"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of a tensor: the activation that made it, and whether it holds one value per channel and sample."""

    activation: str | None = None
    location: Location | None = None
    features: bool = False


_NONE = Tensor()
_SHAPERS = frozenset(
    "view reshape squeeze unsqueeze transpose permute contiguous float half double to type clone cpu cuda flatten view_as reshape_as "  # noqa: SIM905
    "expand t narrow unflatten bfloat16 type_as index_select".split()
)
_GLOBAL_POOLS = frozenset(f"torch.nn.Adaptive{kind}Pool{size}d" for kind in ("Avg", "Max") for size in (1, 2, 3))
_FEATURES = frozenset(["torch.nn.Linear", "torch.nn.LazyLinear", "torch.nn.Bilinear", "torch.nn.Embedding", "torch.nn.EmbeddingBag"])
_DROPOUTS = frozenset(["dropout", "dropout2d", "alpha_dropout"])
_MOST_DEPTH = 6


def with_ending(builder: Builder, info: ClassInfo, frame: Frame, contents: Contents) -> Contents:
    """Contents of a class with how its forward ends."""
    flow = _Flow(builder, frame)
    end = flow.sequence(frame.attributes["*"], _NONE) if "*" in frame.attributes and info.method("forward") is None else _NONE
    found = info.method("forward")
    if found is not None:
        owner, node = found
        end = flow.method(Code(owner.module, node, owner, bound=True), [])
    held: Held = contents.batchnorm_over_features
    if flow.over_features and contents.batchnorm != "no":
        held = "yes" if contents.batchnorm == "yes" else "unknown"
    elif held == "no" and contents.batchnorm != "no" and _may_be_over_features(contents):
        held = "unknown"
    each = tuple((item.activation, item.location if item.activation else None) for item in flow.each())
    return replace(
        contents, ends_with=end.activation, ends_at=end.location if end.activation else None, ends_each=each, batchnorm_over_features=held
    )


def function_ending(builder: Builder, values: list[Abstract]) -> Tensor:
    """How models end that a factory returns; all must agree."""
    flow = _Flow(builder, None)
    return _agreed([flow.layer(value, _NONE, None) for value in values])


def _may_be_over_features(contents: Contents) -> bool:
    """Whether a BatchNorm1d is there whose input was not followed."""
    return any(layer.kind == "batchnorm" and not layer.name.endswith(("2d", "3d")) for layer in contents.layers)


def _agreed(ends: list[Tensor]) -> Tensor:
    if not ends or len({end.activation for end in ends}) != 1:
        return replace(_NONE, features=bool(ends) and all(end.features for end in ends))
    return replace(ends[0], features=all(end.features for end in ends))


class _Flow:
    """Follows tensors through a forward."""

    def __init__(self, builder: Builder, frame: Frame | None) -> None:
        self.builder = builder
        self.frame = frame
        self.over_features = False
        self._running: list[ast.AST] = []
        self._tuples: list[list[Tensor]] = []

    def each(self) -> list[Tensor]:
        """What is known of each output of the method that was followed first; empty unless it always returns tuples of one length."""
        if not self._tuples or len({len(items) for items in self._tuples}) != 1:
            return []
        return [_agreed(list(column)) for column in zip(*self._tuples, strict=True)]

    def method(self, code: Code, arguments: list[Tensor]) -> Tensor:
        """What a method or function returns."""
        if self.frame is None or code.node in self._running or len(self._running) > _MOST_DEPTH or isinstance(code.node, ast.Lambda):
            return _NONE
        names = [argument.arg for argument in code.node.args.args]
        tensors = dict(zip(names[1:] if code.bound else names, arguments, strict=False))
        own = code.bound
        frame = Frame(
            code.module,
            {names[0]: SELF} if own and names else {},
            self.frame.info if own else None,
            code.owner,
            self.frame.attributes if own else {},
            depth=self.frame.depth + 1,
        )
        frame.names.update(dict.fromkeys(names[1:] if own else names, PLAIN))
        ends: list[Tensor] = []
        self._running.append(code.node)
        try:
            self._block(frame, code.node.body, tensors, ends)
        finally:
            self._running.pop()
        return _agreed(ends)

    def _block(self, frame: Frame, body: list[ast.stmt], tensors: dict[str, Tensor], ends: list[Tensor]) -> bool:
        """Follow statements; whether the function is left at the end."""
        for node in body:
            if isinstance(node, ast.Return):
                ends.append(self._returned(frame, node.value, tensors))
                if len(self._running) == 1:
                    items = node.value.elts if isinstance(node.value, ast.Tuple) else []
                    self._tuples.append([self.tensor(frame, item, tensors) for item in items])
                return True
            if isinstance(node, ast.Raise):
                return True
            if isinstance(node, ast.If):
                if self._branch(frame, node, tensors, ends):
                    return True
            else:
                self._statement(frame, node, tensors, ends)
        return False

    def _branch(self, frame: Frame, node: ast.If, tensors: dict[str, Tensor], ends: list[Tensor]) -> bool:
        decided = None if self._on_mode(node.test) else truth(self._plain(frame, node.test))
        if decided is not None:
            return self._block(frame, node.body if decided else node.orelse, tensors, ends)
        one, two = dict(tensors), dict(tensors)
        left, right = self._block(frame, node.body, one, ends), self._block(frame, node.orelse, two, ends)
        tensors.clear()
        if left or right:
            tensors.update(two if left else one)
        else:
            tensors.update({name: _agreed([one.get(name, _NONE), two.get(name, _NONE)]) for name in {**one, **two}})
        return left and right

    def _statement(self, frame: Frame, node: ast.stmt, tensors: dict[str, Tensor], ends: list[Tensor]) -> None:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            value = self._returned(frame, node.value, tensors)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self._assign(frame, target, value, node.value, tensors)
        elif isinstance(node, ast.AugAssign):
            if isinstance(node.target, ast.Name):
                tensors[node.target.id] = _NONE
        elif isinstance(node, ast.Expr):
            self.tensor(frame, node.value, tensors)
        elif isinstance(node, ast.For | ast.AsyncFor):
            self._loop(frame, node, tensors, ends)
        elif isinstance(node, ast.With | ast.AsyncWith | ast.While | ast.Try):
            before = dict(tensors)
            self._block(frame, node.body, tensors, ends)
            for handler in node.handlers if isinstance(node, ast.Try) else []:
                self._block(frame, handler.body, before, ends)
        elif isinstance(node, ast.FunctionDef):
            frame.names[node.name] = Code(frame.module, node, frame.owner, closure=frame)

    def _loop(self, frame: Frame, node: ast.For | ast.AsyncFor, tensors: dict[str, Tensor], ends: list[Tensor]) -> None:
        before, bound = dict(tensors), set(frame.names)
        values, closed = self.builder.elements(self._plain(frame, node.iter))
        for value in values[-2:]:
            self.builder.bind(frame, node.target, value)
            self._block(frame, node.body, tensors, ends)
        if not closed:  # nobody knows which round is the last, nor whether there is one
            layers = any(isinstance(value, Built) for value in values)
            for name, end in tensors.items():
                start = before.get(name, _NONE if name in bound else end)
                tensors[name] = _NONE if layers else _agreed([start, end])

    def _assign(self, frame: Frame, target: ast.expr, value: Tensor, node: ast.expr, tensors: dict[str, Tensor]) -> None:
        if isinstance(target, ast.Name):
            tensors[target.id] = value
            frame.names[target.id] = PLAIN if isinstance(node, ast.Call) else self._plain(frame, node)
        elif isinstance(target, ast.Tuple | ast.List):
            parts = node.elts if isinstance(node, ast.Tuple | ast.List) and len(node.elts) == len(target.elts) else None
            for index, item in enumerate(target.elts):
                self._assign(frame, item, self.tensor(frame, parts[index], tensors) if parts else _NONE, node, tensors)

    def _returned(self, frame: Frame, node: ast.expr | None, tensors: dict[str, Tensor]) -> Tensor:
        if isinstance(node, ast.Tuple):
            return replace(_agreed([self._returned(frame, item, tensors) for item in node.elts]), features=False)
        return _NONE if node is None else self.tensor(frame, node, tensors)

    def _plain(self, frame: Frame, node: ast.expr) -> Abstract:
        """The value of an expression that is no tensor; what it may build counts for nothing."""
        from normadvisor.script.project.gather import Gather  # noqa: PLC0415

        outer, self.builder.gather = self.builder.gather, Gather()
        try:
            return self.builder.value(frame, node)
        finally:
            self.builder.gather = outer

    @staticmethod
    def _on_mode(node: ast.expr) -> bool:
        return any(isinstance(item, ast.Attribute) and item.attr == "training" for item in walk(node))

    def tensor(self, frame: Frame, node: ast.expr, tensors: dict[str, Tensor]) -> Tensor:
        """What is known of the tensor an expression gives."""
        if isinstance(node, ast.Name):
            return tensors.get(node.id, _NONE)
        if isinstance(node, ast.Call):
            return self._call(frame, node, tensors)
        if isinstance(node, ast.Subscript):
            return replace(self.tensor(frame, node.value, tensors), features=False)
        if isinstance(node, ast.IfExp):
            decided = None if self._on_mode(node.test) else truth(self._plain(frame, node.test))
            if decided is not None:
                return self.tensor(frame, node.body if decided else node.orelse, tensors)
            return _agreed([self.tensor(frame, node.body, tensors), self.tensor(frame, node.orelse, tensors)])
        if isinstance(node, ast.NamedExpr):
            tensors[node.target.id] = self.tensor(frame, node.value, tensors)
            return tensors[node.target.id]
        for item in ast.iter_child_nodes(node):
            if isinstance(item, ast.expr):
                self.tensor(frame, item, tensors)
        return _NONE

    def _call(self, frame: Frame, node: ast.Call, tensors: dict[str, Tensor]) -> Tensor:
        arguments = [self.tensor(frame, item, tensors) for item in node.args]
        first = arguments[0] if arguments else _NONE
        location = frame.module.location(node)
        function = node.func
        if isinstance(function, ast.Attribute):
            if function.attr == "forward" and isinstance(function.value, ast.Call):
                return self._super(frame, arguments)
            if self._is_tensor(frame, function.value, tensors):
                return self._tensor_method(frame, function, node, tensors)
        callee = self._plain(frame, function)
        if isinstance(function, ast.Attribute) and function.attr == "forward" and callee is PLAIN:
            callee = self._plain(frame, function.value)
        if isinstance(callee, Code):
            return self.method(callee, arguments)
        if isinstance(callee, Extern):
            return self._function(callee.name, first, location)
        return self.layer(callee, first, location)

    def _is_tensor(self, frame: Frame, node: ast.expr, tensors: dict[str, Tensor]) -> bool:
        while isinstance(node, ast.Call | ast.Subscript | ast.Attribute):
            if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Attribute) and node.func.attr in _SHAPERS):
                return self._plain(frame, node.func) is not PLAIN or isinstance(node.func, ast.Attribute)
            node = node.func if isinstance(node, ast.Call) else node.value
        return isinstance(node, ast.Name) and (node.id in tensors or frame.names.get(node.id) is PLAIN)

    def _tensor_method(self, frame: Frame, function: ast.Attribute, node: ast.Call, tensors: dict[str, Tensor]) -> Tensor:
        base = self.tensor(frame, function.value, tensors)
        if function.attr in _SHAPERS:
            return replace(base, features=base.features or (function.attr in {"view", "reshape", "flatten"} and len(node.args) in {1, 2}))
        if (activation := function_activation(f"torch.{function.attr}")) is not None:
            return Tensor(activation, frame.module.location(node), base.features)
        return _NONE

    def _super(self, frame: Frame, arguments: list[Tensor]) -> Tensor:
        if frame.info is None or frame.owner is None:
            return _NONE
        order = frame.info.mro()
        for parent in order[order.index(frame.owner) + 1 :] if frame.owner in order else ():
            if (node := parent.methods.get("forward")) is not None:
                return self.method(Code(parent.module, node, parent, bound=True), arguments)
        return self.sequence(frame.attributes["*"], arguments[0] if arguments else _NONE) if "*" in frame.attributes else _NONE

    def _function(self, name: str, first: Tensor, location: Location) -> Tensor:
        last = name.rpartition(".")[2]
        if name in {"torch.flatten", "torch.squeeze", "torch.reshape", "torch.unsqueeze", "torch.transpose", "torch.permute"}:
            return replace(first, features=first.features or last == "flatten")
        if name.startswith("torch.nn.functional.") and last in _DROPOUTS:
            return first
        if name == "torch.nn.functional.linear" or (last.startswith("adaptive_") and last.endswith(("pool1d", "pool2d", "pool3d"))):
            return Tensor(features=True)
        activation = function_activation(name)
        return Tensor(activation, location, first.features) if activation else _NONE

    def layer(self, layer: Abstract, first: Tensor, location: Location | None) -> Tensor:
        """What a layer makes of a tensor."""
        if isinstance(layer, Either):
            return _agreed([self.layer(item, first, location) for item in layer.values])
        if isinstance(layer, Const) and layer.value is None:
            return first
        if not isinstance(layer, Built):
            return _NONE
        if layer.name == "torch.nn.Sequential":
            return self.sequence(Items(layer.items, layer.open), first)
        if layer.contents is not None:
            return Tensor(layer.contents.ends_with, layer.contents.ends_at)
        if layer.name in PASS_THROUGH_LAYERS:
            return replace(first, features=first.features or layer.name == "torch.nn.Flatten")
        if layer.name in _FEATURES or (layer.name in _GLOBAL_POOLS and _to_one(layer)):
            return Tensor(features=True)
        if layer.name in LAYERS and LAYERS[layer.name].kind == "batchnorm":
            self.over_features = self.over_features or (first.features and layer.layer is not None)
            return Tensor(features=first.features)
        if (activation := layer_activation(layer.name)) is not None:
            return Tensor(activation, layer.location, first.features)
        keeps = layer.name not in CONTAINERS and layer.name.startswith("torch.nn.Conv") and first.features and _kernel_of_one(layer)
        return Tensor(features=keeps)

    def sequence(self, items: Abstract, first: Tensor) -> Tensor:
        """What layers one after another make of a tensor."""
        if not isinstance(items, Items) or items.open:
            return _NONE
        for item in items.values:
            first = self.layer(item, first, None)
        return first


def _to_one(layer: Built) -> bool:
    size = layer.call.get(0, "output_size") if layer.call else None
    sizes = size.values if isinstance(size, Items) else [size]
    return all(isinstance(item, Const) and item.value == 1 for item in sizes)


def _kernel_of_one(layer: Built) -> bool:
    size = layer.call.get(2, "kernel_size") if layer.call else None
    return isinstance(size, Const) and size.value == 1
