"""Expressions."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from normadvisor.script.machine.conditions import compared, truth_of
from normadvisor.script.machine.containers import Containers
from normadvisor.script.machine.core import MOST_STEPS, BudgetError, Outcomes
from normadvisor.script.machine.operators import ARITHMETIC, SIGNS, computed, item_of_tuple, without_activation
from normadvisor.script.values import (
    NOTHING,
    Arguments,
    Const,
    Data,
    Ref,
    Tuple,
    Value,
    choice,
    members,
    merged_data,
)

if TYPE_CHECKING:
    from normadvisor.script.project.modules import Project
    from normadvisor.script.protocol import Library
    from normadvisor.script.state import State

__all__ = ["Expressions"]

_SAMPLED = 6
"""Entries evaluated of a longer one."""
_MOST_ITEMS = 40
"""Entries of a dictionary literal that are told apart."""
_MOST_ELEMENTS = 16
"""Elements of a comprehension evaluated one by one."""


class Expressions(Containers):
    """Evaluates expressions."""

    def __init__(self, project: Project, library: Library) -> None:
        super().__init__(project, library)
        self._handlers: dict[type[ast.expr], Callable[[Any, State], Value]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.Await: self._await,
            ast.Tuple: self._tuple,
            ast.List: self._list,
            ast.Set: self._list,
            ast.Dict: self._dict,
            ast.Subscript: self._subscript,
            ast.Slice: self._slice,
            ast.BinOp: self._binary,
            ast.UnaryOp: self._unary,
            ast.Compare: self._compare,
            ast.BoolOp: self._boolean,
            ast.IfExp: self._conditional,
            ast.NamedExpr: self._named,
            ast.Lambda: self._lambda,
            ast.JoinedStr: self._joined_text,
            ast.Starred: self._starred,
            ast.Yield: self._yield,
            ast.YieldFrom: self._yield_from,
            ast.ListComp: self._comprehension,
            ast.SetComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.DictComp: self._dict_comprehension,
        }

    def evaluate(self, node: ast.expr, state: State) -> Value:
        """The value of an expression; what it does to the state is done in place, several ends are joined."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise BudgetError
        handler = self._handlers.get(type(node))
        if handler is not None:
            return handler(node, state)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.evaluate(child, state)
        return NOTHING

    def outcomes(self, node: ast.expr, state: State) -> Outcomes:
        """The value of an expression, one for each path that a call in it may take."""
        if isinstance(node, ast.Await):
            return self.outcomes(node.value, state)
        if isinstance(node, ast.Call):
            self.step()
            return self.call_outcomes(node, state)
        if isinstance(node, ast.IfExp):
            found: Outcomes = []
            for branched, truth in self.branch(node.test, state):
                found += self.outcomes(node.body if truth else node.orelse, branched)
            return found
        return [(state, self.evaluate(node, state))]

    def _constant(self, node: ast.Constant, state: State) -> Value:  # noqa: ARG002
        return Const(node.value)

    def _name(self, node: ast.Name, state: State) -> Value:
        return self.lookup(node.id, state)

    def _attribute(self, node: ast.Attribute, state: State) -> Value:
        return self.attribute(state, self.evaluate(node.value, state), node.attr, self.place(node))

    def _call(self, node: ast.Call, state: State) -> Value:
        return self.merged(state, self.call_outcomes(node, state))

    def _await(self, node: ast.Await, state: State) -> Value:
        return self.evaluate(node.value, state)

    def _tuple(self, node: ast.Tuple, state: State) -> Value:
        items, rest = self._items(node.elts, state)
        return Tuple(tuple(items), rest)

    def _items(self, nodes: list[ast.expr], state: State) -> tuple[list[Value], Value | None]:
        items: list[Value] = []
        rest: list[Value] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                found, complete = self.elements(state, self.evaluate(node.value, state), self.place(node))
                if complete and not rest:
                    items += found
                else:
                    rest += found
            elif rest:
                rest.append(self.evaluate(node, state))
            else:
                items.append(self.evaluate(node, state))
        return items, choice(rest) if rest else None

    def _list(self, node: ast.List | ast.Set, state: State) -> Value:
        items, rest = self._items(node.elts, state)
        return self.new_list(state, items, rest, self.place(node))

    def _dict(self, node: ast.Dict, state: State) -> Value:
        ref = self.new(state, "dict", self.place(node), tag="items")
        if len(node.keys) > _MOST_ITEMS:  # a table of settings: which entry is asked for is rarely known
            values = [self.evaluate(item, state) for item in node.values[:_SAMPLED]]
            state.fields[ref.address, "[*]"] = choice([value for value in values if isinstance(value, Ref)][:_MOST_ITEMS] or [NOTHING])
            return ref
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.evaluate(item, state)
            if key is None:
                for name, inner in state.fields_of(value.address).items() if isinstance(value, Ref) else ():
                    if name.startswith("["):
                        state.fields[ref.address, name] = inner
                continue
            self.set_item(state, ref, self.evaluate(key, state), value)
        return ref

    def _subscript(self, node: ast.Subscript, state: State) -> Value:
        value = self.evaluate(node.value, state)
        key = self.evaluate(node.slice, state)
        return self.subscript(state, value, key, self.place(node))

    def subscript(self, state: State, value: Value, key: Value, place: Any) -> Value:
        """``value[key]``."""
        found = []
        for member in members(value):
            if isinstance(member, Tuple):
                found.append(item_of_tuple(member, key))
                continue
            thing = self.thing(member)
            if thing is not None and isinstance(member, Ref) and thing.kind in {"list", "dict", "set"}:
                item = self.get_item(state, member, key)
                found.append(item if item is not None else NOTHING)
                continue
            if isinstance(member, Const) and isinstance(member.value, str | bytes):
                found.append(NOTHING)
                continue
            result = self.library.subscript(self, state, member, key, place)
            if result is None:
                result = self.library.operation(self, state, "[]", [member, key], place)
            found.append(result if result is not None else merged_data([member]))
        return choice(found)

    def _slice(self, node: ast.Slice, state: State) -> Value:
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                self.evaluate(part, state)
        return Data(origins=frozenset({"slice"}))

    def _binary(self, node: ast.BinOp, state: State) -> Value:
        left, right = self.evaluate(node.left, state), self.evaluate(node.right, state)
        return self.arithmetic(state, node.op, left, right, self.place(node))

    def arithmetic(self, state: State, sign: ast.operator, left: Value, right: Value, place: Any) -> Value:
        """``left sign right``."""
        text, compute = ARITHMETIC[type(sign)]
        if isinstance(left, Const) and isinstance(right, Const):
            return computed(text, compute, left.value, right.value)
        if isinstance(left, Tuple) and isinstance(right, Tuple) and text == "+" and left.rest is None:
            return Tuple((*left.items, *right.items), right.rest)
        joined = self._joined_lists(state, left, right, place) if text == "+" else None
        if joined is not None:
            return joined
        result = self.library.operation(self, state, text, [left, right], place)
        return result if result is not None else without_activation([left, right])

    def _joined_lists(self, state: State, left: Value, right: Value, place: Any) -> Value | None:
        one, two = self.thing(left), self.thing(right)
        if one is None or two is None or one.kind != "list" or two.kind != "list":
            return None
        (first, whole), (second, both) = self.elements(state, left, place), self.elements(state, right, place)
        if whole and both:
            return self.new_list(state, [*first, *second], None, place)
        return self.new_list(state, [], choice([*first, *second]) if first or second else None, place)

    def _unary(self, node: ast.UnaryOp, state: State) -> Value:
        value = self.evaluate(node.operand, state)
        if isinstance(node.op, ast.Not):
            truth = truth_of(value)
            return NOTHING if truth is None else Const(not truth)
        if isinstance(value, Const) and isinstance(value.value, int | float):
            if isinstance(node.op, ast.USub):
                return Const(-value.value)
            return value if isinstance(node.op, ast.UAdd) else NOTHING
        result = self.library.operation(self, state, "-" if isinstance(node.op, ast.USub) else "~", [value], self.place(node))
        return result if result is not None else without_activation([value])

    def _compare(self, node: ast.Compare, state: State) -> Value:
        values = [self.evaluate(part, state) for part in (node.left, *node.comparators)]
        if len(values) == 2 and not self._optional(values):
            found = compared(node.ops[0], values[0], values[1])
            if found is not None:
                return found
            contained = self._contained(state, node.ops[0], values[0], values[1])
            if contained is not None:
                return contained
            sign = SIGNS.get(type(node.ops[0]), "<")
            result = self.library.operation(self, state, sign, values, self.place(node))
            if result is not None:
                return result
        return without_activation(values)

    def _optional(self, values: list[Value]) -> bool:
        """Whether a parameter that nobody passes is compared with ``None``: it may be."""
        things = [thing for value in values if (thing := self.thing(value)) is not None]
        return Const(None) in values and any(thing.kind == "opaque" for thing in things)

    def _contained(self, state: State, sign: ast.cmpop, left: Value, right: Value) -> Value | None:
        """``"train" in ["train", "val"]`` for a list of constants."""
        thing = self.thing(right)
        if not isinstance(sign, ast.In | ast.NotIn) or not isinstance(left, Const) or thing is None or thing.kind not in {"list", "set"}:
            return None
        items, complete = self.elements(state, right, thing.place)
        if not complete or not all(isinstance(item, Const) for item in items):
            return None
        inside = left in items
        return Const(inside if isinstance(sign, ast.In) else not inside)

    def _boolean(self, node: ast.BoolOp, state: State) -> Value:
        values = []
        for part in node.values:
            value = self.evaluate(part, state)
            truth = truth_of(value)
            if truth is isinstance(node.op, ast.Or):
                values.append(value)
                break
            if truth is None or part is node.values[-1]:
                values.append(value)
        return choice(values) if values else NOTHING

    def _conditional(self, node: ast.IfExp, state: State) -> Value:
        return self.merged(state, self.outcomes(node, state))

    def _named(self, node: ast.NamedExpr, state: State) -> Value:
        value = self.evaluate(node.value, state)
        self.assign(node.target, value, state)
        return value

    def _lambda(self, node: ast.Lambda, state: State) -> Value:
        return self.define(node, state)

    def _joined_text(self, node: ast.JoinedStr, state: State) -> Value:
        parts = []
        for part in node.values:
            value = self.evaluate(part.value if isinstance(part, ast.FormattedValue) else part, state)
            parts.append(value)
        # What a message is made of was measured: the values are used, not their gradient.
        result = self.library.operation(self, state, "format", parts, self.place(node))
        return result if result is not None else NOTHING

    def _starred(self, node: ast.Starred, state: State) -> Value:
        return self.evaluate(node.value, state)

    def _yield(self, node: ast.Yield, state: State) -> Value:
        value = self.evaluate(node.value, state) if node.value is not None else Const(None)
        self.frame.yielded.append(value)
        return NOTHING

    def _yield_from(self, node: ast.YieldFrom, state: State) -> Value:
        found, _ = self.elements(state, self.evaluate(node.value, state), self.place(node))
        self.frame.yielded += found
        return NOTHING

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, state: State) -> Value:
        items, complete = self._generated(node.generators, state, lambda: [self.evaluate(node.elt, state)])
        place = self.place(node)
        if complete:
            return self.new_list(state, items, None, place)
        return self.new_list(state, [], choice(items) if items else None, place)

    def _dict_comprehension(self, node: ast.DictComp, state: State) -> Value:
        ref = self.new(state, "dict", self.place(node), tag="items")

        def entry() -> list[Value]:
            self.set_item(state, ref, self.evaluate(node.key, state), self.evaluate(node.value, state))
            return []

        self._generated(node.generators, state, entry)
        return ref

    def _generated(self, generators: list[ast.comprehension], state: State, make: Callable[[], list[Value]]) -> tuple[list[Value], bool]:
        """What a comprehension makes of its elements, and whether each was evaluated."""
        if not generators:
            return make(), True
        first, *others = generators
        found, complete = self.elements(state, self.evaluate(first.iter, state), self.place(first.iter))
        if len(found) > _MOST_ELEMENTS:
            found, complete = [choice(found)], False
        result: list[Value] = []
        for element in found:
            self.assign(first.target, element, state)
            inside = True
            for test in first.ifs:
                truths = {truth for _, truth in self.branch(test, state.copy())}
                if True not in truths:
                    inside = False
                    break
                complete = complete and truths == {True}
            if inside:
                inner, whole = self._generated(others, state, make)
                result += inner
                complete = complete and whole
        return result, complete

    def call_outcomes(self, node: ast.Call, state: State) -> Outcomes:
        """Evaluate a call."""
        raise NotImplementedError

    def arguments(self, node: ast.Call, state: State) -> Arguments:
        """Evaluate the arguments of a call."""
        positional: list[Value] = []
        star: list[Value] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                found, complete = self.elements(state, self.evaluate(argument.value, state), self.place(argument))
                if complete and not star:
                    positional += found
                else:
                    star += found or [NOTHING]
            elif star:
                star.append(self.evaluate(argument, state))
            else:
                positional.append(self.evaluate(argument, state))
        named: list[tuple[str, Value]] = []
        double: Value | None = None
        for keyword in node.keywords:
            value = self.evaluate(keyword.value, state)
            if keyword.arg is not None:
                named.append((keyword.arg, value))
                continue
            thing = self.thing(value)
            if thing is not None and isinstance(value, Ref) and thing.kind == "dict" and state.get_field(value.address, "[*]") is None:
                for name, item in state.fields_of(value.address).items():
                    if name.startswith("['"):
                        named.append((name[2:-2], item))
            else:
                double = NOTHING
        return Arguments(tuple(positional), tuple(named), choice(star) if star else None, double)
