"""Evaluates the expressions that decide which layers are built: constants, layer types, tables of them, calls."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    Piece,
    Table,
    either,
    item_of,
    options,
    truth,
)
from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.project.externals import external_name
from normadvisor.script.project.gather import Gather
from normadvisor.script.project.modules import SourceModule
from normadvisor.script.project.operators import arithmetic, compared
from normadvisor.script.values import Class, Const, Extern, ModuleValue

if TYPE_CHECKING:
    from normadvisor.script.project.modules import Project, Resolved

__all__ = ["Evaluator", "Frame", "TooMuchError"]

_MOST_STEPS = 40_000
_MOST_ROUNDS = 12
_NUMBERS = frozenset(
    {"in_features", "out_features", "in_channels", "out_channels", "num_features", "weight", "bias", "config", "embed_dim", "hidden_size"}
)


class TooMuchError(Exception):
    """The code takes more steps than a model should."""


@dataclass(slots=True)
class Frame:
    """Names of one function, and the object it builds."""

    module: SourceModule
    names: dict[str, Abstract] = field(default_factory=dict)
    info: ClassInfo | None = None
    """Class of the object being built."""
    owner: ClassInfo | None = None
    """Class whose method this is."""
    attributes: dict[str, Abstract] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    """Attributes that the class calls."""
    returns: list[Abstract] = field(default_factory=list)
    entered: set[ast.AST] = field(default_factory=set)
    """Methods of the object that were followed."""
    depth: int = 0


class Evaluator:
    """Expressions, without calls."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.gather = Gather()
        self.steps = 0
        self.undecided = 0
        """Undecided branches around the current place."""
        self._globals: dict[tuple[int, str], Abstract] = {}

    def call(self, frame: Frame, node: ast.Call) -> Abstract:
        """A call; see :class:`~normadvisor.script.project.calls.Caller`."""
        raise NotImplementedError

    def value(self, frame: Frame, node: ast.expr | None) -> Abstract:
        """What an expression evaluates to."""
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise TooMuchError
        method = _METHODS.get(type(node))
        return PLAIN if method is None or node is None else method(self, frame, node)

    def _constant(self, _: Frame, node: ast.Constant) -> Abstract:
        return Const(node.value)

    def _name(self, frame: Frame, node: ast.Name) -> Abstract:
        known = frame.names.get(node.id)
        return known if known is not None else self.global_value(frame.module, node.id)

    def global_value(self, module: SourceModule, name: str) -> Abstract:
        """A name at the top level of a module."""
        key = (id(module), name)
        if key not in self._globals:
            self._globals[key] = UNKNOWN  # an assignment that needs itself is not told
            found = self.project.lookup(name, module)
            if found is None and name in module.nested_classes:
                found = self.project.class_info(module, module.nested_classes[name], name)
            self._globals[key] = Extern(f"builtins.{name}") if found is None else self.resolved(found)
        return self._globals[key]

    def resolved(self, found: Resolved | None) -> Abstract:
        """The value of what a name of the project means."""
        if found is None:
            return UNKNOWN
        if isinstance(found, str):
            return Extern(found)
        if isinstance(found, SourceModule):
            return ModuleValue(found)
        if isinstance(found, ClassInfo):
            return Class(found)
        module, node = found
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return Code(module, node)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            return self.value(Frame(module), node.value)
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            return self.value(Frame(module), node.value)
        return UNKNOWN

    def _attribute(self, frame: Frame, node: ast.Attribute) -> Abstract:
        return either([self.attribute_of(frame, owner, node.attr) for owner in options(self.value(frame, node.value))])

    def attribute_of(self, frame: Frame, owner: Abstract, name: str) -> Abstract:
        """``owner.name``."""
        if owner is SELF:
            return self._own_attribute(frame, name)
        if isinstance(owner, Extern):
            return Extern(external_name(f"{owner.name}.{name}"))
        if isinstance(owner, ModuleValue):
            return self.resolved(self.project.attribute(owner.module, [name]))
        if isinstance(owner, Class):
            return self._member(owner.info, name, bound=False)
        if isinstance(owner, Piece) or (isinstance(owner, Built) and owner.share is not None):
            share = owner.share
            return PLAIN if share is None or name in _NUMBERS else Piece(share)
        return UNKNOWN if owner is UNKNOWN else PLAIN

    def _own_attribute(self, frame: Frame, name: str) -> Abstract:
        if name in frame.attributes:
            return frame.attributes[name]
        if name == "training" or frame.info is None:
            return PLAIN
        return self._member(frame.info, name, bound=True)

    def _member(self, info: ClassInfo, name: str, *, bound: bool) -> Abstract:
        found = info.method(name)
        if found is not None:
            owner, node = found
            words = {item.id for item in node.decorator_list if isinstance(item, ast.Name)}
            if "property" in words or "cached_property" in words:
                return UNKNOWN
            return Code(owner.module, node, owner, bound=bound or "classmethod" in words)
        member = info.member(name)
        return PLAIN if member is None else self.resolved(member)

    def _conditional(self, frame: Frame, node: ast.IfExp) -> Abstract:
        decided = truth(self.value(frame, node.test))
        if decided is not None:
            return self.value(frame, node.body if decided else node.orelse)
        return self.branches(frame, [node.body, node.orelse])

    def branches(self, frame: Frame, nodes: list[ast.expr]) -> Abstract:
        """One of several expressions, nobody knows which."""
        outer, gathers, values = self.gather, [], []
        self.undecided += 1
        try:
            for node in nodes:
                self.gather = Gather()
                values.append(self.value(frame, node))
                gathers.append(self.gather)
        finally:
            self.undecided -= 1
            self.gather = outer
        outer.alternatives(gathers)
        return either(values)

    def _boolean(self, frame: Frame, node: ast.BoolOp) -> Abstract:
        wanted = isinstance(node.op, ast.Or)
        values: list[Abstract] = []
        for item in node.values:
            value = self.value(frame, item)
            decided = truth(value)
            if decided is wanted:
                values.append(value)
                break
            if decided is None or item is node.values[-1]:
                values.append(value)
        return either(values)

    def _not(self, frame: Frame, node: ast.UnaryOp) -> Abstract:
        value = self.value(frame, node.operand)
        if isinstance(node.op, ast.Not):
            decided = truth(value)
            return PLAIN if decided is None else Const(not decided)
        if isinstance(node.op, ast.USub) and isinstance(value, Const) and isinstance(value.value, int | float):
            return Const(-value.value)
        return PLAIN

    def _compare(self, frame: Frame, node: ast.Compare) -> Abstract:
        left = self.value(frame, node.left)
        result = True
        for operator, item in zip(node.ops, node.comparators, strict=True):
            right = self.value(frame, item)
            decided = compared(operator, left, right)
            if decided is None:
                return PLAIN
            result, left = result and decided, right
        return Const(result)

    def _binary(self, frame: Frame, node: ast.BinOp) -> Abstract:
        return arithmetic(node.op, self.value(frame, node.left), self.value(frame, node.right))

    def _list(self, frame: Frame, node: ast.List | ast.Tuple | ast.Set) -> Abstract:
        items = Items(level=self.undecided)
        for item in node.elts:
            if isinstance(item, ast.Starred):
                values, closed = self.elements(self.value(frame, item.value))
                items.values.extend(values)
                items.open = items.open or not closed
            else:
                items.values.append(self.value(frame, item))
        return items

    def _dict(self, frame: Frame, node: ast.Dict) -> Abstract:
        table = Table()
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.value(frame, item)
            if key is None:
                if isinstance(value, Table):
                    table.values.update(value.values)
                table.open = table.open or not isinstance(value, Table) or value.open
                continue
            name = self.value(frame, key)
            if isinstance(name, Const):
                table.values[name.value] = value
            else:
                table.open = True
        return table

    def _subscript(self, frame: Frame, node: ast.Subscript) -> Abstract:
        key = self.value(frame, node.slice)
        return either([item_of(owner, key, is_slice=isinstance(node.slice, ast.Slice)) for owner in options(self.value(frame, node.value))])

    def _comprehension(self, frame: Frame, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Abstract:
        items = Items()
        self._loops(frame, node.generators, 0, lambda: items.values.append(self.value(frame, node.elt)), items)
        return items

    def _dict_comprehension(self, frame: Frame, node: ast.DictComp) -> Abstract:
        items = Items()
        self._loops(frame, node.generators, 0, lambda: items.values.append(self.value(frame, node.value)), items)
        return Table(dict(enumerate(items.values)), open=True)

    def _loops(self, frame: Frame, generators: list[ast.comprehension], index: int, body: Any, items: Items) -> None:
        if index == len(generators):
            body()
            return
        generator = generators[index]
        values, closed = self.elements(self.value(frame, generator.iter))
        items.open = items.open or not closed
        for value in values[:_MOST_ROUNDS] if closed else values[:_MOST_ROUNDS] or [PLAIN]:
            self.bind(frame, generator.target, value)
            decided = [truth(self.value(frame, test)) for test in generator.ifs]
            if False in decided:
                continue
            outer = self.gather
            if None in decided:
                self.gather = Gather()
            try:
                self._loops(frame, generators, index + 1, body, items)
            finally:
                inner, self.gather = self.gather, outer
            if inner is not outer:
                outer.alternatives([inner, Gather()])

    def elements(self, value: Abstract) -> tuple[list[Abstract], bool]:
        """What a loop over a value meets, and whether that is all."""
        if isinstance(value, Items):
            return _distinct(value.values), not value.open
        if isinstance(value, Table):
            return [Const(key) for key in value.values], not value.open
        if isinstance(value, Built) and value.items:
            return _distinct(value.items), not value.open
        if isinstance(value, Const) and isinstance(value.value, str):
            return [Const(letter) for letter in value.value[:_MOST_ROUNDS]], True
        if isinstance(value, Either):
            return [item for option in value.values for item in self.elements(option)[0]], False
        return [value if value is UNKNOWN or isinstance(value, Piece) else PLAIN], False

    def bind(self, frame: Frame, target: ast.expr, value: Abstract) -> None:
        """Assign to names; assignments to attributes are the business of statements."""
        if isinstance(target, ast.Name):
            frame.names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            known = value.values if isinstance(value, Items) and not value.open and len(value.values) == len(target.elts) else None
            for index, item in enumerate(target.elts):
                fallback = UNKNOWN if value is UNKNOWN or isinstance(value, Items) else PLAIN
                self.bind(frame, item, known[index] if known is not None else fallback)
        elif isinstance(target, ast.Starred):
            self.bind(frame, target.value, UNKNOWN)

    def _lambda(self, frame: Frame, node: ast.Lambda) -> Abstract:
        return Code(frame.module, node, frame.owner, closure=frame)

    def _named(self, frame: Frame, node: ast.NamedExpr) -> Abstract:
        value = self.value(frame, node.value)
        self.bind(frame, node.target, value)
        return value

    def _awaited(self, frame: Frame, node: ast.Await | ast.Starred) -> Abstract:
        return self.value(frame, node.value)

    def _formatted(self, frame: Frame, node: ast.JoinedStr) -> Abstract:
        parts: list[str] = []
        for item in node.values:
            value = self.value(frame, item.value) if isinstance(item, ast.FormattedValue) and item.format_spec is None else None
            value = Const(item.value) if isinstance(item, ast.Constant) else value
            if not isinstance(value, Const):
                return PLAIN
            parts.append(str(value.value))
        return Const("".join(parts))

    def arguments(self, frame: Frame, node: ast.Call) -> Call:
        """Arguments of a call, evaluated."""
        positional: list[Abstract] = []
        named: dict[str, Abstract] = {}
        is_open = False
        for item in node.args:
            value = self.value(frame, item.value if isinstance(item, ast.Starred) else item)
            if isinstance(item, ast.Starred):
                values, closed = (value.values, not value.open) if isinstance(value, Items) else ([value], False)
                positional.extend(values)
                is_open = is_open or not closed
            else:
                positional.append(value)
        for keyword in node.keywords:
            value = self.value(frame, keyword.value)
            if keyword.arg is not None:
                named[keyword.arg] = value
            elif isinstance(value, Table):
                named.update({str(key): item for key, item in value.values.items()})
                is_open = is_open or value.open
            else:
                is_open = True
        return Call(tuple(positional), tuple(named.items()), is_open)


def _distinct(values: list[Abstract]) -> list[Abstract]:
    """Each element once: a loop does the same for equal ones."""
    return list(dict.fromkeys(values))


_METHODS: dict[Any, Any] = {
    ast.Constant: Evaluator._constant,  # noqa: SLF001 - a table of the class's own methods
    ast.Name: Evaluator._name,  # noqa: SLF001
    ast.Attribute: Evaluator._attribute,  # noqa: SLF001
    ast.IfExp: Evaluator._conditional,  # noqa: SLF001
    ast.BoolOp: Evaluator._boolean,  # noqa: SLF001
    ast.UnaryOp: Evaluator._not,  # noqa: SLF001
    ast.Compare: Evaluator._compare,  # noqa: SLF001
    ast.BinOp: Evaluator._binary,  # noqa: SLF001
    ast.List: Evaluator._list,  # noqa: SLF001
    ast.Tuple: Evaluator._list,  # noqa: SLF001
    ast.Set: Evaluator._list,  # noqa: SLF001
    ast.Dict: Evaluator._dict,  # noqa: SLF001
    ast.Subscript: Evaluator._subscript,  # noqa: SLF001
    ast.ListComp: Evaluator._comprehension,  # noqa: SLF001
    ast.SetComp: Evaluator._comprehension,  # noqa: SLF001
    ast.GeneratorExp: Evaluator._comprehension,  # noqa: SLF001
    ast.DictComp: Evaluator._dict_comprehension,  # noqa: SLF001
    ast.Lambda: Evaluator._lambda,  # noqa: SLF001
    ast.NamedExpr: Evaluator._named,  # noqa: SLF001
    ast.Await: Evaluator._awaited,  # noqa: SLF001
    ast.Starred: Evaluator._awaited,  # noqa: SLF001
    ast.JoinedStr: Evaluator._formatted,  # noqa: SLF001
    ast.Call: lambda self, frame, node: self.call(frame, node),
}
