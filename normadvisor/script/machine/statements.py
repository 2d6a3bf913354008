"""Simple statements, and blocks of statements: paths meet again where their modes agree."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from normadvisor.script.machine.builtin_functions import CONTAINER_METHODS
from normadvisor.script.machine.calls import Calls
from normadvisor.script.machine.core import Flow, Outcomes
from normadvisor.script.values import (
    NOTHING,
    Arguments,
    Choice,
    Class,
    Const,
    Data,
    Place,
    Ref,
    Tuple,
    Value,
    choice,
    merged_data,
)

if TYPE_CHECKING:
    from normadvisor.script.project.modules import Project
    from normadvisor.script.protocol import Library
    from normadvisor.script.state import State

__all__ = ["Statements"]

_MOST_STATES = 10
"""Paths followed side by side; the others are joined."""


class Statements(Calls):
    """Executes statements."""

    def __init__(self, project: Project, library: Library) -> None:
        super().__init__(project, library)
        self.statements: dict[type[ast.stmt], Callable[[Any, State], Flow]] = {
            ast.Expr: self._expression,
            ast.Assign: self._assignment,
            ast.AnnAssign: self._annotated,
            ast.AugAssign: self._augmented,
            ast.Return: self._return,
            ast.Raise: self._raise,
            ast.Delete: self._delete,
            ast.Assert: self._assert,
            ast.Global: self._global,
            ast.Nonlocal: self._nonlocal,
            ast.Import: self._import,
            ast.ImportFrom: self._import,
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class,
            ast.Break: lambda _, state: Flow(breaks=[state]),
            ast.Continue: lambda _, state: Flow(continues=[state]),
        }

    def execute(self, body: list[ast.stmt], states: list[State]) -> Flow:
        """Execute a block."""
        flow = Flow()
        current = states
        running = self.frames[-1].statements
        for statement in body:
            if not current:
                break
            handler = self.statements.get(type(statement))
            if handler is None:
                continue
            running.append(statement)
            try:
                following: list[State] = []
                for state in current:
                    self.step()
                    part = handler(statement, state)
                    following += part.normal
                    flow.add(part)
            finally:
                running.pop()
            current = self.joined(following) if len(following) > 1 else following
        flow.normal = current
        return flow

    def joined(self, states: list[State]) -> list[State]:
        """States, those joined that agree in every mode."""
        groups: dict[object, State] = {}
        for state in states:
            key = signature(state)
            groups[key] = groups[key].join(state) if key in groups else state
        found = list(groups.values())
        while len(found) > _MOST_STATES:
            last = found.pop()
            found[-1] = found[-1].join(last)
        return found

    def fewer(self, outcomes: Outcomes) -> Outcomes:
        """Outcomes with states joined that agree in every mode."""
        if len(outcomes) < 2:
            return outcomes
        groups: dict[object, tuple[State, Value]] = {}
        for state, value in outcomes:
            key = (signature(state), value if isinstance(value, Const) else None)
            if key in groups:
                known, result = groups[key]
                groups[key] = (known.join(state), choice((result, value)))
            else:
                groups[key] = (state, value)
        found = list(groups.values())
        while len(found) > _MOST_STATES:
            (one, value), (two, other) = found.pop(), found.pop()
            found.append((one.join(two), choice((value, other))))
        return found

    # --- simple statements

    def _expression(self, node: ast.Expr, state: State) -> Flow:
        if isinstance(node.value, ast.Yield) and self.frame.on_yield is not None:
            value = self.evaluate(node.value.value, state) if node.value.value is not None else Const(None)
            return Flow(normal=self.frame.on_yield(state, value))
        flow = Flow(normal=[after for after, _ in self.outcomes(node.value, state)])
        if isinstance(node.value, ast.Call) and self._never_returns(node.value):
            return Flow(raises=flow.normal)
        return flow

    def _never_returns(self, node: ast.Call) -> bool:
        """``sys.exit()``, ``exit()``, ``os._exit()``."""
        text = self.source_of(node.func)
        return text in {"sys.exit", "exit", "quit", "os._exit", "os.abort"}

    def _assignment(self, node: ast.Assign, state: State) -> Flow:
        flow = Flow()
        if isinstance(node.value, ast.Yield) and self.frame.on_yield is not None:
            flow.normal = self.frame.on_yield(state, NOTHING)
            return flow
        for after, value in self.outcomes(node.value, state):
            for target in node.targets:
                self.assign(target, value, after)
            flow.normal.append(after)
        return flow

    def _annotated(self, node: ast.AnnAssign, state: State) -> Flow:
        if node.value is None:
            return Flow(normal=[state])
        flow = Flow()
        for after, value in self.outcomes(node.value, state):
            self.assign(node.target, value, after)
            flow.normal.append(after)
        return flow

    def _augmented(self, node: ast.AugAssign, state: State) -> Flow:
        left, right = self.evaluate(node.target, state), self.evaluate(node.value, state)
        thing = self.thing(left)
        if thing is not None and thing.kind == "list" and isinstance(left, Ref) and isinstance(node.op, ast.Add):
            extend = CONTAINER_METHODS["extend"]
            extend(self, state, left, Arguments((right,)), self.place(node))
            return Flow(normal=[state])
        value = self.arithmetic(state, node.op, left, right, self.place(node))
        if isinstance(left, Const) and self.frame.loops:
            value = NOTHING  # a counter: another number in every turn
        self.assign(node.target, value, state)
        return Flow(normal=[state])

    def assign(self, target: ast.expr, value: Value, state: State) -> None:
        """Bind a target."""
        if isinstance(target, ast.Name):
            self.bind(target.id, value, state)
        elif isinstance(target, ast.Attribute):
            self._assign_attribute(target, value, state)
        elif isinstance(target, ast.Subscript):
            owner = self.evaluate(target.value, state)
            key = self.evaluate(target.slice, state)
            for member in owner.values if isinstance(owner, Choice) else (owner,):
                thing = self.thing(member)
                held = thing is not None and thing.kind in {"list", "dict", "set"}
                if isinstance(member, Ref) and (held or isinstance(key, Const)):
                    self.set_item(state, member, key, value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, value, state)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, self.new_list(state, [], value, self.place(target)), state)

    def _assign_attribute(self, target: ast.Attribute, value: Value, state: State) -> None:
        owner = self.evaluate(target.value, state)
        place = self.place(target)
        for member in owner.values if isinstance(owner, Choice) else (owner,):
            if isinstance(member, Ref):
                state.fields[member.address, target.attr] = value
                self.changed_attribute(state, member.address, target.attr)
            self.library.set_attribute(self, state, member, target.attr, value, place)

    def _unpack(self, targets: list[ast.expr], value: Value, state: State) -> None:
        place = self.place(targets[0]) if targets else None
        starred = next((index for index, target in enumerate(targets) if isinstance(target, ast.Starred)), None)
        if isinstance(value, Choice) and all(isinstance(member, Tuple) and len(member.items) == len(targets) for member in value.values):
            columns = [[member.items[index] for member in value.values if isinstance(member, Tuple)] for index in range(len(targets))]
            for target, column in zip(targets, columns, strict=True):
                self.assign(target, choice(column), state)
            return
        found: list[Value] | None = None
        thing = self.thing(value)
        if (isinstance(value, Tuple) or (thing is not None and thing.kind in {"list", "set"})) and place is not None:
            items, complete = self.elements(state, value, place)
            if complete:
                found = items
        if found is not None and starred is None and len(found) == len(targets):
            for target, item in zip(targets, found, strict=True):
                self.assign(target, item, state)
            return
        single = self._one_of(value, state, place)
        for target in targets:
            self.assign(target, single, state)

    def _one_of(self, value: Value, state: State, place: Place | None) -> Value:
        """An item of something that is taken apart without its length being known."""
        if isinstance(value, Tuple | Ref) and place is not None:
            thing = self.thing(value)
            if isinstance(value, Tuple) or (thing is not None and thing.kind in {"list", "dict", "set", "loader"}):
                found, _ = self.elements(state, value, place)
                return choice(found) if found else NOTHING
            return NOTHING
        if isinstance(value, Data):
            return value if not value.activation else Data(value.calls, None, None, value.origins, value.about)
        return merged_data([value])

    def _return(self, node: ast.Return, state: State) -> Flow:
        if node.value is None:
            return Flow(returns=[(state, Const(None))])
        return Flow(returns=self.outcomes(node.value, state))

    def _raise(self, node: ast.Raise, state: State) -> Flow:
        if node.exc is not None:
            self.evaluate(node.exc, state)
        return Flow(raises=[state])

    def _delete(self, node: ast.Delete, state: State) -> Flow:
        for target in node.targets:
            if isinstance(target, ast.Name):
                state.environment(self.frame.environment).pop(target.id, None)
        return Flow(normal=[state])

    def _assert(self, node: ast.Assert, state: State) -> Flow:
        return Flow(normal=[after for after, truth in self.branch(node.test, state) if truth] or [state])

    def _global(self, node: ast.Global, state: State) -> Flow:
        self.frame.global_names.update(node.names)
        return Flow(normal=[state])

    def _nonlocal(self, node: ast.Nonlocal, state: State) -> Flow:
        for name in node.names:
            self.bind_nonlocal(name, state)
        return Flow(normal=[state])

    def _import(self, node: ast.Import | ast.ImportFrom, state: State) -> Flow:
        module = self.frame.module
        for alias in node.names:
            local = alias.asname or (alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name)
            dotted = module.imports.get(local)
            if local == "*" or dotted is None:
                continue
            if self.frame.function is None and local not in module.definitions and local not in state.names[self.frame.environment]:
                continue  # found when it is first used
            found = self.project.resolve(dotted, module)
            self.bind(local, self.value_of(found, state, module, alias.name.rpartition(".")[2]), state)
        return Flow(normal=[state])

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, state: State) -> Flow:
        self.bind(node.name, self.define(node, state), state)
        return Flow(normal=[state])

    def _class(self, node: ast.ClassDef, state: State) -> Flow:
        around = self.frame.function.qualname + "." if self.frame.function is not None else ""
        self.bind(node.name, Class(self.project.class_info(self.frame.module, node, f"{around}{node.name}")), state)
        return Flow(normal=[state])


def signature(state: State) -> object:
    """What keeps paths apart: the mode of every model, and whether gradients are recorded."""
    modes = frozenset(
        (address, mode.batchnorm, mode.rest, mode.frozen is not None, mode.undone is not None, mode.evaluated is not None)
        for address, mode in state.modes.items()
    )
    return modes, state.grad, state.leaving
