"""Follows the operations of a graph and the expressions of a function side by side."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from normadvisor.graph.written.exact import is_tensor, number_of
from normadvisor.graph.written.model import reads_only
from normadvisor.rewrite.source.functions.definitions import Unclear, definition
from normadvisor.rewrite.source.functions.found import Place, location_of
from normadvisor.rewrite.source.imports import is_bound_locally
from normadvisor.rewrite.source.place import Refused, SourceTree, WriteContext, place_of
from normadvisor.rewrite.source.statements import block_of
from normadvisor.types import Location

__all__ = ["Walk", "walked"]

_PLAIN = (
    ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.UnaryOp, ast.unaryop, ast.Slice, ast.Tuple, ast.Compare, ast.cmpop,
    ast.expr_context,
)  # fmt: skip
"""What may be read at another place: it calls nothing."""


@dataclass(slots=True)
class Walk:
    """What the source says about operations that one function is to take the place of."""

    tree: SourceTree
    root: ast.expr
    """Gives the result."""
    operands: dict[str, ast.expr] = field(default_factory=dict)
    """By the name of the function's argument."""
    numbers: list[tuple[Any, ast.expr]] = field(default_factory=list)
    """Constants of the operations, with how they are written."""
    sizes: list[tuple[Any, ast.expr]] = field(default_factory=list)
    """Numbers that hang on the sizes of tensors, with how they are written."""
    helpers: list[ast.stmt] = field(default_factory=list)
    """Assignments of variables that serve nothing else."""
    expressions: dict[fx.Node, ast.expr] = field(default_factory=dict)
    """Where each operation stands."""
    passed: set[str] = field(default_factory=set)
    """Expressions that the call is given beside its operands."""

    def segment(self, node: ast.AST) -> str:
        """The text of a node."""
        return self.tree.module.segment(node)


def walked(place: Place, context: WriteContext) -> Walk:
    """Follow the operations of a place.

    Raises:
        Refused: they do not stand together in one function, or what they compute on the way is read by something else.

    """
    root = location_of(place.written.root, context)
    tree = context.tree(root)
    expressions = {node: _expression(node, tree, context) for node in place.written.nodes}
    result = expressions[place.written.root]
    if result is None:
        raise Refused(f"what {place_of(root)} evaluates is no plain expression")
    walker = _Walker(Walk(tree, result), place, expressions, context)
    walker.follow()
    return walker.walk


def _expression(node: fx.Node, tree: SourceTree, context: WriteContext) -> ast.expr | None:
    """The expression of a file that made a node; ``None`` where none of this file did."""
    try:
        location = location_of(node, context)
    except Refused:
        return None
    return (tree.call_at(location) or tree.expression_at(location)) if location.path == tree.module.path else None


class _Walker:
    def __init__(self, walk: Walk, place: Place, expressions: dict[fx.Node, ast.expr | None], context: WriteContext) -> None:
        self.walk = walk
        self._context = context
        self._owner = context.module(place.owner)
        self._prefix = f"{place.owner}." if place.is_alone and place.owner else ""
        self._tree = walk.tree
        self._written = place.written
        self._roles: dict[fx.Node, list[str]] = {}
        for role, node in place.written.inputs.items():
            self._roles.setdefault(node, []).append(role)  # one tensor may be queries and values
        self._expressions = expressions
        self._read: set[ast.expr] = set()
        """Names of helpers that were followed."""
        self._leaves: list[ast.expr] = []
        self._looks: dict[ast.Assign, set[ast.expr]] = {}
        """Variables that hold a size or dtype, with where it was read on the way."""

    def follow(self) -> None:
        """Follow everything, and see that nothing else reads what goes.

        Raises:
            Refused: see :func:`walked`.

        """
        self._operation(self.walk.root, self._written.root)
        missing = [role for role in self._written.inputs if role not in self.walk.operands]
        if missing:
            raise Refused(f"it is not clear what the `{missing[0]}` of the expression at {self._words(self.walk.root)} is")
        self._check_helpers()
        for leaf in self._leaves:
            self._check_leaf(leaf)

    # -- side by side --------------------------------------------------------------------------------------------------------

    def _value(self, expr: ast.expr, value: Any) -> None:
        """Follow one expression that stands for one argument of an operation."""
        if isinstance(value, fx.Node) and not is_tensor(value):
            self.walk.sizes.append((number_of(value), expr))
        if not isinstance(value, fx.Node):
            self.walk.numbers.append((value, expr))
        elif value in self._roles:
            self._operand(expr, self._roles[value])
        elif reads_only(value):
            self._looked_at(expr)
        elif value not in self._expressions:
            raise Refused(f"`{self.walk.segment(expr)}` at {self._words(expr)} is not known to the function of torch")
        elif expr is self._expressions[value] or _is_property(expr, value):
            self._operation(expr, value)
        elif isinstance(expr, ast.Name):
            self._helper(expr, value)
        else:
            raise Refused(f"`{self.walk.segment(expr)}` at {self._words(expr)} computes more than one operation")

    def _looked_at(self, expr: ast.expr) -> None:
        """A size or dtype that the function of torch need not be told; a variable that holds it goes where nothing else reads it."""
        found = definition(self._tree, expr.id, expr) if isinstance(expr, ast.Name) else None
        if isinstance(found, ast.Assign) and len(_targets(found)) == len(found.targets) == 1:
            self._looks.setdefault(found, set()).add(expr)

    def _operand(self, expr: ast.expr, roles: Sequence[str]) -> None:
        for role in roles:
            known = self.walk.operands.setdefault(role, expr)
            if ast.unparse(known) != ast.unparse(expr):
                names = f"`{self.walk.segment(known)}` and `{self.walk.segment(expr)}` at {self._words(expr)}"
                raise Refused(f"{names} are two names of one value")
        self._leaves.append(expr)

    def _helper(self, expr: ast.Name, value: fx.Node) -> None:
        """A variable that holds the result of an operation."""
        found = definition(self._tree, expr.id, expr)
        self._read.add(expr)
        if isinstance(found, ast.Assign) and len(found.targets) == 1 and isinstance(found.targets[0], ast.Name):
            held: ast.expr | None = found.value
        elif isinstance(found, ast.AnnAssign):
            held = found.value
        else:
            held = None
        if held is None or isinstance(found, Unclear):
            raise Refused(f"`{expr.id}` at {self._words(expr)} is not assigned by one plain statement")
        if found not in self.walk.helpers:
            self.walk.helpers.append(found)
            self._value(held, value)

    def _operation(self, expr: ast.expr, node: fx.Node) -> None:
        """Follow the parts of an expression that made a node."""
        self.walk.expressions[node] = expr
        if self._tree.function(expr) is not self._tree.function(self.walk.root):
            raise Refused(f"part of it stands in another function, at {self._words(expr)}")
        match expr:
            case ast.BinOp():
                self._positional((expr.left, expr.right), node)
            case ast.Compare() if len(expr.comparators) == 1:
                self._positional((expr.left, expr.comparators[0]), node)
            case ast.UnaryOp():
                self._positional((expr.operand,), node)
            case ast.Attribute():
                self._value(expr.value, node.args[0])
            case ast.Subscript():
                self._value(expr.value, node.args[0])
            case ast.Call():
                self._call(expr, node)
            case _:
                raise Refused(f"`{self.walk.segment(expr)}` at {self._words(expr)} is no plain operation")

    def _positional(self, operands: Sequence[ast.expr], node: fx.Node) -> None:
        values = list(node.args)
        if len(values) != len(operands):
            raise Refused(f"`{self.walk.segment(self.walk.root)}` at {self._words(self.walk.root)} cannot be followed")
        # A number on the left is the second argument of a reflected operator, as the recorder sees it.
        if len(values) == 2 and isinstance(values[0], fx.Node) and not isinstance(values[1], fx.Node) and self._is_number(operands[0]):
            values.reverse()
        for operand, value in zip(operands, values, strict=True):
            self._value(operand, value)

    def _is_number(self, expr: ast.expr) -> bool:
        """Whether an expression is plainly no tensor: constants, names from outside the function, numbers that a module holds."""
        match expr:
            case ast.Constant():
                return True
            case ast.UnaryOp():
                return self._is_number(expr.operand)
            case ast.BinOp():
                return self._is_number(expr.left) and self._is_number(expr.right)
            case ast.Call():
                return isinstance(expr.func, ast.Attribute) and self._is_of_module(expr.func) and all(map(self._is_number, expr.args))
            case ast.Attribute() if isinstance(expr.value, ast.Name) and expr.value.id == "self":
                return isinstance(getattr(self._owner, expr.attr, None), int | float)
            case ast.Attribute():
                return self._is_of_module(expr)
            case ast.Name():
                found = definition(self._tree, expr.id, expr)
                if isinstance(found, ast.Assign) and len(found.targets) == 1 and isinstance(found.targets[0], ast.Name):
                    return self._is_number(found.value)
                return found is Unclear.OUTSIDE and not is_bound_locally(expr.id, self._tree, expr)
        return False

    def _call(self, call: ast.Call, node: fx.Node) -> None:
        """A call of a function, of a method of a tensor, or of a layer."""
        operands = list(call.args)
        if node.op == "call_module":
            self._layer(call, node)
        elif isinstance(call.func, ast.Attribute) and not self._is_of_module(call.func):
            operands.insert(0, call.func.value)
        if any(isinstance(item, ast.Starred) for item in operands) or any(item.arg is None for item in call.keywords):
            raise Refused(f"the arguments of the call at {self._words(call)} are not written out")
        named = {item.arg: item.value for item in call.keywords}
        followed: set[fx.Node] = set()
        for position, operand in enumerate(operands):
            value = node.args[position] if position < len(node.args) else None
            self._value(operand, value)
            followed.update([value] if isinstance(value, fx.Node) else [])
        for name, operand in named.items():
            value = node.kwargs.get(name or "")
            self._value(operand, value)
            followed.update([value] if isinstance(value, fx.Node) else [])
        if any(source not in followed for source in node.all_input_nodes):
            raise Refused(f"the arguments of the call at {self._words(call)} cannot be followed")

    def _layer(self, call: ast.Call, node: fx.Node) -> None:
        """A layer among the operations: that of a dropout still says how much is dropped, any other would be left without use."""
        layer = self._context.module(self._prefix + str(node.target))
        if not isinstance(layer, torch.nn.Dropout) or not isinstance(call.func, ast.Attribute | ast.Name):
            raise Refused(f"the layer `{self.walk.segment(call.func)}` would be left without use")

    def _is_of_module(self, func: ast.Attribute) -> bool:
        """Whether a function of an imported module is called, rather than a method of a value."""
        root: ast.expr = func
        while isinstance(root, ast.Attribute):
            root = root.value
        return isinstance(root, ast.Name) and root.id in self._tree.module.imports

    # -- what else reads it --------------------------------------------------------------------------------------------------

    def _check_helpers(self) -> None:
        function = self._tree.function(self.walk.root)
        names = {target.id for item in self.walk.helpers for target in _targets(item)}
        for node in ast.walk(function) if function is not None and names else ():
            if not isinstance(node, ast.Name) or node.id not in names or isinstance(node.ctx, ast.Store) or node in self._read:
                continue
            found = definition(self._tree, node.id, node) if self._tree.function(node) is function else Unclear.SEVERAL
            if found is Unclear.SEVERAL or found in self.walk.helpers:
                raise Refused(f"`{node.id}` is also read at {self._words(node)}")

        self.walk.helpers += [item for item, reads in self._looks.items() if self._is_spare(item, reads)]

    def _is_spare(self, statement: ast.Assign, reads: set[ast.expr]) -> bool:
        """Whether a variable is read nowhere but in what goes."""
        function = self._tree.function(statement)
        name = _targets(statement)[0].id
        found = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == name] if function is not None else []
        return bool(found) and all(node in reads or node is statement.targets[0] for node in found)

    def _check_leaf(self, leaf: ast.expr) -> None:
        """What is read at another place, or once more, must be the same there."""
        statement = self._tree.statement(self.walk.root)
        moved = self._tree.statement(leaf) is not statement
        again = sum(ast.unparse(leaf) == ast.unparse(other) for other in self._leaves) > 1
        computed = not all(isinstance(node, _PLAIN) for node in ast.walk(leaf))
        if computed and (again or (moved and not self._leads_up(leaf, statement))):
            raise Refused(f"`{self.walk.segment(leaf)}` at {self._words(leaf)} is computed there, and would have to be elsewhere")
        if not moved:
            return
        for name in {node.id for node in ast.walk(leaf) if isinstance(node, ast.Name)}:
            here = definition(self._tree, name, leaf, self.walk.helpers)
            there = definition(self._tree, name, self.walk.root, self.walk.helpers)
            if here is not there or here is Unclear.SEVERAL:
                raise Refused(f"`{name}` is another value at {self._words(self.walk.root)} than at {self._words(leaf)}")

    def _leads_up(self, leaf: ast.expr, statement: ast.stmt) -> bool:
        """Whether nothing but helpers stands between what computes a value and the result, so that it may be computed there."""
        first = self._tree.statement(leaf)
        block = block_of(self._tree, statement)
        if not any(item is first for item in block):
            return False
        position = next(index for index, item in enumerate(block) if item is first)
        end = next(index for index, item in enumerate(block) if item is statement)
        return position < end and all(item in self.walk.helpers for item in block[position:end])

    def _words(self, node: ast.AST) -> str:
        place: Location = self._tree.module.location(node)
        return place_of(place)


def _is_property(expr: ast.expr, value: fx.Node) -> bool:
    """Whether an expression reads a property of a tensor, such as ``x.mT``, which is recorded where it is used first."""
    return value.target is getattr and isinstance(expr, ast.Attribute) and expr.attr == value.args[1]


def _targets(statement: ast.stmt) -> list[ast.Name]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target] if isinstance(statement, ast.AnnAssign) else []
    return [target for target in targets if isinstance(target, ast.Name)]
