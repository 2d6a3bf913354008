"""Branches: conditions that constants, earlier branches or the library decide, and the assumptions made where nobody does."""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

from normadvisor.script.machine.core import Core
from normadvisor.script.values import Choice, Class, Const, Data, Extern, Function, ModuleValue, Ref, Tuple, Value, members

if TYPE_CHECKING:
    from collections.abc import Callable

    from normadvisor.script.state import State

__all__ = ["Conditions", "truth_of"]

_COMPARE: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Is: ("is", operator.is_),
    ast.IsNot: ("is not", operator.is_not),
    ast.In: ("in", lambda one, two: one in two),
    ast.NotIn: ("not in", lambda one, two: one not in two),
}
_NEGATED = {"!=": "==", "is not": "is", "not in": "in", ">=": "<", ">": "<="}


def truth_of(value: Value) -> bool | None:
    """Whether a value counts as true; ``None`` if unknown."""
    if isinstance(value, Const):
        return bool(value.value)
    if isinstance(value, Tuple):
        return bool(value.items) if value.items or value.rest is None else None
    if isinstance(value, Function | Class | ModuleValue):
        return True
    if isinstance(value, Choice):
        found = {truth_of(member) for member in value.values}
        return found.pop() if len(found) == 1 else None
    return None


class Conditions(Core):
    """Decides conditions."""

    def branch(self, test: ast.expr, state: State) -> list[tuple[State, bool]]:
        """Decide a condition, on one path or on two."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return [(branched, not truth) for branched, truth in self.branch(test.operand, state)]
        if isinstance(test, ast.BoolOp):
            return self._branch_whole(test, state)
        if isinstance(test, ast.NamedExpr):
            self.evaluate(test, state)
            return self.branch(test.target, state)
        value = self.evaluate(test, state)
        truth = self._decided(value)
        if truth is None:
            key, negated = self._key(test, state)
            if key is not None and (known := _recall(state.assumptions, key)) is not None:
                truth = known is not negated
        else:
            return [(state, truth)]
        if truth is not None:
            return [(state, truth)]
        other = state.copy()
        for branched, wanted in ((state, True), (other, False)):
            self._assume(test, branched, key, wanted=wanted, negated=negated)
        return [(state, True), (other, False)]

    def _branch_whole(self, test: ast.BoolOp, state: State) -> list[tuple[State, bool]]:
        """``and`` and ``or``; what was decided is remembered of the whole as well, since which operand decided it is not."""
        key = self._identity(test, state)
        known = _recall(state.assumptions, key) if key is not None else None
        found = self._branch_operands(test.values, state, stop=isinstance(test.op, ast.Or))
        if key is None:
            return found
        kept = [(branched, truth) for branched, truth in found if known is None or truth is known] or found
        for branched, truth in kept:
            branched.assumptions[key] = truth
        return kept

    def _branch_operands(self, operands: list[ast.expr], state: State, *, stop: bool) -> list[tuple[State, bool]]:
        """``and`` (``stop`` False) and ``or`` (``stop`` True), operand by operand."""
        open_states = [state]
        found: list[tuple[State, bool]] = []
        for operand in operands:
            going = []
            for current in open_states:
                for branched, truth in self.branch(operand, current):
                    if truth is stop:
                        found.append((branched, truth))
                    else:
                        going.append(branched)
            open_states = going
        found += [(current, not stop) for current in open_states]
        return self._few(found)

    def _few(self, found: list[tuple[State, bool]]) -> list[tuple[State, bool]]:
        """At most one state for each truth value."""
        result = []
        for truth in (True, False):
            states = [state for state, value in found if value is truth]
            if states:
                joined = states[0]
                for other in states[1:]:
                    joined = joined.join(other)
                result.append((joined, truth))
        return result

    def _decided(self, value: Value) -> bool | None:
        """Truth of a value where it is sure; references to objects count as true unless they are containers."""
        if isinstance(value, Ref):
            thing = self.things.get(value.address)
            return True if thing is not None and thing.kind in {"module", "optimizer", "loss", "loader", "instance", "ema"} else None
        return truth_of(value)

    def _assume(self, test: ast.expr, state: State, key: str | None, *, wanted: bool, negated: bool) -> None:
        if key is not None:
            state.assumptions[key] = wanted is not negated
        if isinstance(test, ast.Name):
            self._drop_alternatives(test.id, state, wanted=wanted)
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.left, ast.Name):
            none = isinstance(test.comparators[0], ast.Constant) and test.comparators[0].value is None
            if none and isinstance(test.ops[0], ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
                is_none = wanted is isinstance(test.ops[0], ast.Is | ast.Eq)
                self._drop_alternatives(test.left.id, state, wanted=not is_none)
        for node in _subjects(test):
            value = self.lookup(node.id, state)
            if isinstance(value, Ref):
                self.library.narrow(self, state, test, value, wanted)

    def _drop_alternatives(self, name: str, state: State, *, wanted: bool) -> None:
        """Of several values a name may have, keep those that agree with the branch: not ``None`` where it is true."""
        environment = self.environment_of(name, state)
        value = state.names.get(environment, {}).get(name) if environment is not None else None
        if isinstance(value, Choice) and environment is not None:
            kept = [member for member in value.values if truth_of(member) is not (not wanted)]
            if kept and len(kept) < len(value.values):
                state.environment(environment)[name] = Choice(tuple(kept)) if len(kept) > 1 else kept[0]

    # --- keys: what a condition is about, the same wherever the same thing is asked

    def _key(self, test: ast.expr, state: State) -> tuple[str | None, bool]:
        """A text that is the same for conditions that must agree, and whether the condition is its negation."""
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = self._identity(test.left, state), self._identity(test.comparators[0], state)
            sign = _COMPARE[type(test.ops[0])][0]
            if left is None or right is None:
                return None, False
            if sign in _NEGATED:
                return f"{left} {_NEGATED[sign]} {right}", True
            return f"{left} {sign} {right}", False
        return self._identity(test, state), False

    def _identity(self, node: ast.expr, state: State, depth: int = 6) -> str | None:
        """A text for the object or variable an expression stands for; ``None`` for what may be another one next time."""
        if isinstance(node, ast.Constant):
            return repr(node.value)
        if isinstance(node, ast.Name):
            value = self.lookup(node.id, state)
            if isinstance(value, Ref):
                return f"@{value.address}"
            if isinstance(value, Const):
                return repr(value.value)
            if isinstance(value, Extern):
                return value.name
            if isinstance(value, Data) and value.about is not None and value.calls == frozenset():
                return f"@{value.about.address}|{','.join(sorted(value.origins))}"
            environment = self.environment_of(node.id, state)
            return f"{environment if environment is not None else 'free'}:{node.id}"
        if not depth:
            return None
        if isinstance(node, ast.BoolOp):
            parts = [self._identity(value, state, depth - 1) for value in node.values]
            sign = " and " if isinstance(node.op, ast.And) else " or "
            return f"({sign.join(part or '' for part in parts)})" if None not in parts else None
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            operand = self._identity(node.operand, state, depth - 1)
            return f"(not {operand})" if operand is not None else None
        if isinstance(node, ast.Compare):
            if len(node.ops) != 1:
                return None
            key, negated = self._key(node, state)
            return None if key is None else f"(not {key})" if negated else f"({key})"
        if isinstance(node, ast.Attribute):
            owner = self._identity(node.value, state, depth - 1)
            return f"{owner}.{node.attr}" if owner is not None else None
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            owner = self._identity(node.value, state, depth - 1)
            return f"{owner}.{node.slice.value!s}" if owner is not None else None  # cfg["train"] and cfg.train are written for one thing
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add | ast.Sub):
            left, right = self._identity(node.left, state, depth - 1), self._identity(node.right, state, depth - 1)
            sign = {ast.Mod: "%", ast.Add: "+", ast.Sub: "-"}[type(node.op)]
            return f"({left} {sign} {right})" if left is not None and right is not None else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"len", "isinstance", "hasattr", "bool"}:
            parts = [self._identity(argument, state, depth - 1) for argument in node.args]
            return f"{node.func.id}({', '.join(part or '' for part in parts)})" if None not in parts else None
        return None

    def changed(self, state: State, environment: int, name: str) -> None:
        """A name was bound anew: what was assumed about it no longer holds."""
        if state.assumptions:
            mark = f"{environment}:{name}"
            stale = [key for key in state.assumptions if mark in key]
            for key in stale:
                del state.assumptions[key]

    def changed_attribute(self, state: State, address: int, name: str) -> None:
        """An attribute was bound anew."""
        if state.assumptions:
            mark = f"@{address}.{name}"
            for key in [key for key in state.assumptions if mark in key]:
                del state.assumptions[key]

    def lookup(self, name: str, state: State) -> Value:
        """The value of a name."""
        raise NotImplementedError

    def environment_of(self, name: str, state: State) -> int | None:
        """The environment that binds a name; ``None`` for builtins and names of other files."""
        raise NotImplementedError


def _subjects(test: ast.expr) -> list[ast.Name]:
    """Names that a test is about."""
    if isinstance(test, ast.Name):
        return [test]
    if isinstance(test, ast.Call):
        return [argument for argument in test.args[:1] if isinstance(argument, ast.Name)]
    if isinstance(test, ast.Compare):
        known: list[ast.Name] | None = getattr(test, "_normadvisor_subjects", None)
        if known is None:
            known = [node for node in ast.walk(test) if isinstance(node, ast.Name)][:3]
            test._normadvisor_subjects = known  # type: ignore[attr-defined]  # noqa: SLF001 - found out once per node
        return known
    return []


def _recall(assumptions: dict[str, bool], key: str) -> bool | None:
    """What the path assumed; that something equals one constant says that it equals no other."""
    if key in assumptions:
        return assumptions[key]
    left, sign, right = key.partition(" == ")
    if sign:
        for other, truth in assumptions.items():
            start, same, value = other.partition(" == ")
            if truth and same and start == left and value != right and _is_literal(value) and _is_literal(right):
                return False
    return None


def _is_literal(text: str) -> bool:
    return text[:1] in "'\"-0123456789" or text in {"True", "False", "None"}


def compared(sign: ast.cmpop, left: Value, right: Value) -> Value | None:
    """A comparison of constants, or of identities; ``None`` if its result is unknown."""
    text, compute = _COMPARE[type(sign)]
    if isinstance(left, Const) and isinstance(right, Const):
        try:
            return Const(bool(compute(left.value, right.value)))
        except TypeError:
            return None
    if isinstance(left, Const) and isinstance(right, Tuple) and text in {"in", "not in"} and right.rest is None:
        if all(isinstance(item, Const) for item in right.items):
            inside = any(isinstance(item, Const) and item.value == left.value for item in right.items)
            return Const(inside if text == "in" else not inside)
        return None
    if text in {"is", "is not", "==", "!="}:
        for one, other in ((left, right), (right, left)):
            if other == Const(None) and all(isinstance(item, Ref | Function | Class | ModuleValue | Tuple) for item in members(one)):
                return Const(text in {"is not", "!="})
    return None
