"""Which layer an argument of ``forward`` reaches first, and what is done to it on the way, read from the source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Entry", "calculated_with", "constant_views", "entries", "forward_tree"]

_CONTAINER_SKIP = 8
"""Deepest chain of own modules followed into their forwards."""


@dataclass(slots=True)
class Entry:
    """Where an argument enters: the module, and methods applied to the argument before (name and constant arguments)."""

    module: nn.Module
    before: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)


def forward_tree(model: nn.Module) -> ast.FunctionDef | None:
    """Syntax tree of the model's ``forward``; ``None`` when its source is out of reach."""
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(type(model).forward)))
        node = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError, RecursionError, MemoryError, ValueError):
        return None
    return node if isinstance(node, ast.FunctionDef) else None


def entries(model: nn.Module, depth: int = 0) -> dict[str, Entry]:
    """The first module each argument of ``forward`` is given to, followed into the model's own submodules."""
    tree = forward_tree(model)
    if tree is None or depth > _CONTAINER_SKIP:
        return {}
    walker = _Walker(model, tree)
    walker.run()
    found: dict[str, Entry] = {}
    for name, (module, before, position) in walker.found.items():
        found[name] = _descend(module, before, position, depth)
    return found


def _descend(module: nn.Module, before: list[tuple[str, tuple[Any, ...]]], position: int | str, depth: int) -> Entry:
    from torch import nn

    while isinstance(module, nn.Sequential) and len(module):
        module, position = _first_shaping(module), 0
    if type(module).forward.__module__.startswith("torch.nn"):
        return Entry(module, before)
    inner = entries(module, depth + 1)
    names = list(inner_parameters(module))
    key = position if isinstance(position, str) else names[position] if position < len(names) else ""
    if key in inner:
        return Entry(inner[key].module, before + inner[key].before)
    return Entry(module, before)


def _first_shaping(module: Any) -> Any:
    from normadvisor.targets.inputs.layers import first_layer

    for child in module:
        if first_layer(child) is not None:
            return child
    return module[0]


def inner_parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    """Parameters of a module's ``forward`` without ``self``."""
    try:
        return dict(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return {}


_SHAPING = {"permute", "transpose", "unsqueeze", "squeeze", "long", "one_hot", "flatten", "view", "reshape", "movedim"}


class _Walker:
    """Walks a forward's statements in order and notes, for every argument, the first module call it reaches."""

    def __init__(self, model: nn.Module, tree: ast.FunctionDef) -> None:
        self.model = model
        self.tree = tree
        arguments = tree.args
        names = [arg.arg for arg in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
        self.own = names[0] if names else "self"
        self.alive: dict[str, tuple[str, list[tuple[str, tuple[Any, ...]]]]] = {name: (name, []) for name in names[1:]}
        self.loops: dict[str, ast.expr] = {}
        self.found: dict[str, tuple[nn.Module, list[tuple[str, tuple[Any, ...]]], int | str]] = {}

    def run(self) -> None:
        self._body(self.tree.body)

    def _body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if isinstance(statement, ast.For) and isinstance(statement.target, ast.Name):
                self.loops[statement.target.id] = statement.iter
            for child in ast.iter_child_nodes(statement):
                if isinstance(child, ast.expr):
                    self._calls(child)
            if isinstance(statement, ast.Assign):
                self._assign(statement)
            for block in ("body", "orelse", "finalbody"):
                self._body(getattr(statement, block, []))

    def _assign(self, statement: ast.Assign) -> None:
        source = self._raw(statement.value)
        for target in statement.targets:
            if isinstance(target, ast.Name):
                if source:
                    self.alive[target.id] = source
                else:
                    self.alive.pop(target.id, None)

    def _raw(self, node: ast.expr) -> tuple[str, list[tuple[str, tuple[Any, ...]]]] | None:
        """The argument an expression still is, with the methods applied to it."""
        if isinstance(node, ast.Name):
            return self.alive.get(node.id)
        if isinstance(node, ast.BinOp):  # scaling of the input: (x - mean) / std
            return self._raw(node.left)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            base = self._raw(node.func.value)
            if base:
                return base[0], [*base[1], (node.func.attr, _constants(node.args))]
            if node.func.attr in _SHAPING and node.args and (inner := self._raw(node.args[0])):
                return inner[0], [*inner[1], (node.func.attr, _constants(node.args[1:]))]
        return None

    def _calls(self, node: ast.expr) -> None:
        """Module calls inside an expression, innermost first as Python evaluates them."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._calls(child)
            elif isinstance(child, ast.keyword):
                self._calls(child.value)
        if not isinstance(node, ast.Call):
            return
        module = self._module(node.func)
        if module is None:
            return
        given: list[tuple[int | str, ast.expr]] = [*enumerate(node.args), *((k.arg or "", k.value) for k in node.keywords)]
        for position, value in given:
            raw = self._raw(value)
            if raw and raw[0] not in self.found:
                self.found[raw[0]] = (module, raw[1], position)

    def _module(self, node: ast.expr) -> Any:
        """The module an expression such as ``self.layers[0]`` or a loop variable over modules stands for."""
        from torch import nn

        if isinstance(node, ast.Name):
            looped = self.loops.get(node.id)
            held = self._module(looped) if looped is not None else None
            return next(iter(held), None) if isinstance(held, nn.ModuleList | nn.Sequential) else None
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == self.own:
                held = getattr(self.model, node.attr, None)
            else:
                held = getattr(self._module(node.value), node.attr, None)
            return held if isinstance(held, nn.Module) else None
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            held = self._module(node.value)
            try:
                return held[node.slice.value] if held is not None else None
            except (KeyError, IndexError, TypeError):
                return None
        return None


def calculated_with(model: nn.Module) -> frozenset[str]:
    """Arguments of ``forward`` that stand as they are, or reshaped, in a multiplication, division or matrix product: numbers, not ids."""
    tree = forward_tree(model)
    if tree is None:
        return frozenset()
    products = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div | ast.MatMult)]
    names = (_argument(side) for node in products for side in (node.left, node.right))
    return frozenset(name for name in names if name is not None)


def _argument(node: ast.expr) -> str | None:
    """The name that an expression is, shaping and indexing aside."""
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SHAPING - {"one_hot", "long"}:
            node = node.func.value
        elif isinstance(node, ast.Subscript):
            node = node.value
        else:
            return node.id if isinstance(node, ast.Name) else None


def _constants(nodes: list[ast.expr]) -> tuple[Any, ...]:
    values: list[Any] = []
    for node in nodes:
        try:
            values.append(ast.literal_eval(node))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            values.append(None)
    return tuple(values)


def constant_views(model: nn.Module) -> list[int]:
    """Feature counts ``K`` of every ``.view(-1, K)`` or ``.reshape(-1, K)`` in the forwards of the model and its own submodules.

    Such a view takes any input with a multiple of ``K`` elements and folds what is too much into the batch, without an error.
    """
    kinds: dict[type, nn.Module] = {}
    for module in model.modules():
        if not type(module).forward.__module__.startswith("torch.nn") and len(kinds) < MAX_KINDS:
            kinds.setdefault(type(module), module)
    return [width for module in kinds.values() for width in _views(forward_tree(module))]


MAX_KINDS = 32
"""Most classes of submodules whose forward is read."""


def _views(tree: ast.FunctionDef | None) -> list[int]:
    found: list[int] = []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    for node in calls:
        if isinstance(node.func, ast.Attribute) and node.func.attr in {"view", "reshape"} and len(node.args) == 2:
            first, second = (_number(arg) for arg in node.args)
            if first == -1 and second is not None and second > 1:
                found.append(second)
    return found


def _number(node: ast.expr) -> int | None:
    """Value of an integer expression of literals: ``16 * 5 * 5``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _number(node.left), _number(node.right)
        return None if left is None or right is None else left * right
    return None
