"""Statements: paths part at branches and meet again where their modes agree."""

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
    Const,
    Context,
    Data,
    Function,
    Partial,
    Place,
    Ref,
    Tuple,
    Value,
    choice,
    merged_data,
)

if TYPE_CHECKING:
    from normadvisor.script.state import State

__all__ = ["Statements"]

_MOST_STATES = 10
"""Paths followed side by side; the others are joined."""
_MOST_TURNS = 6
"""Elements of a loop executed one by one."""


class Statements(Calls):
    """Executes statements."""

    def execute(self, body: list[ast.stmt], states: list[State]) -> Flow:
        """Execute a block."""
        flow = Flow()
        current = states
        for statement in body:
            if not current:
                break
            self.frame.statements.append(statement)
            try:
                following: list[State] = []
                for state in current:
                    self.step()
                    handler = self._STATEMENTS.get(type(statement))
                    if handler is None:
                        following.append(state)
                        continue
                    part = handler(self, statement, state)
                    following += part.normal
                    flow.add(part)
            finally:
                self.frame.statements.pop()
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
        load = _as_load(node.target)
        left, right = self.evaluate(load, state), self.evaluate(node.value, state)
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
                if thing is not None and isinstance(member, Ref) and thing.kind in {"list", "dict", "set"}:
                    self.set_item(state, member, key, value)
                elif isinstance(member, Ref) and isinstance(key, Const):
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
            self.library.set_attribute(self, state, member, target.attr, value, place)  # type: ignore[arg-type]

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
                state.names[self.frame.environment].pop(target.id, None)
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
        from normadvisor.script.values import Class

        around = self.frame.function.qualname + "." if self.frame.function is not None else ""
        self.bind(node.name, Class(self.project.class_info(self.frame.module, node, f"{around}{node.name}")), state)
        return Flow(normal=[state])

    # --- branches and loops

    def _if(self, node: ast.If, state: State) -> Flow:
        if _is_main_guard(node.test):
            return self._block(node.body, [state])
        flow = Flow()
        for after, truth in self.branch(node.test, state):
            part = self._block(node.body if truth else node.orelse, [after])
            flow.normal += part.normal
            flow.add(part)
        flow.normal = self.joined(flow.normal) if len(flow.normal) > 1 else flow.normal
        return flow

    def _block(self, body: list[ast.stmt], states: list[State]) -> Flow:
        return self.execute(body, states) if body else Flow(normal=states)

    def _match(self, node: ast.Match, state: State) -> Flow:
        subject = self.evaluate(node.subject, state)
        flow = Flow()
        rest: list[State] = [state]
        for case in node.cases:
            if not rest:
                break
            fits = _matches(case.pattern, subject)
            if fits is False:
                continue
            taken = [rest[0]] if fits is True else [rest[0].copy()]
            for name in _captured(case.pattern):
                self.bind(name, merged_data([subject]) if not isinstance(subject, Ref) else subject, taken[0])
            part = self._block(case.body, taken)
            flow.normal += part.normal
            flow.add(part)
            if fits is True and case.guard is None:
                rest = []
        flow.normal = self.joined([*flow.normal, *rest])
        return flow

    def _for(self, node: ast.For | ast.AsyncFor, state: State) -> Flow:
        flow = Flow()
        starts = self.outcomes(node.iter, state)
        for start, iterable in starts:
            found, complete = self.elements(start, iterable, self.place(node.iter))
            if complete and not found:
                flow.normal.append(start)
                continue
            each = complete and len(found) <= _MOST_TURNS
            turns = found if each else [choice(found)] if found else [NOTHING]

            def bind(current: State, element: Value) -> list[State]:
                self.assign(node.target, element, current)
                return [current]

            part, ended, left = self._turns(node, [start], turns, bind, each=each)
            flow.add(part)
            flow.normal += self._ended(node, ended, left, flow)
        return flow

    def _while(self, node: ast.While, state: State) -> Flow:
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        skipped: list[State] = []

        def enter(current: State, element: Value) -> list[State]:  # noqa: ARG001 - while loops have no elements
            if endless:
                return [current]
            entered = [after for after, truth in self.branch(node.test, current) if truth]
            if not entered:
                skipped.append(current)
            return entered

        flow, ended, left = self._turns(node, [state], [NOTHING], enter, each=False)
        flow.normal = self._ended(node, [] if endless else ended or skipped, left, flow)
        for after in flow.normal:
            # The condition no longer holds; what was assumed about it in the last turn is void.
            self._forget_test(node.test, after)
        return flow

    def _forget_test(self, test: ast.expr, state: State) -> None:
        for inner in ast.walk(test):
            if isinstance(inner, ast.Name):
                environment = self.environment_of(inner.id, state)
                if environment is not None:
                    self.changed(state, environment, inner.id)

    def _turns(
        self,
        node: ast.For | ast.AsyncFor | ast.While,
        states: list[State],
        elements: list[Value],
        enter: Callable[[State, Value], list[State]],
        *,
        each: bool,
    ) -> tuple[Flow, list[State], list[State]]:
        """Execute the body of a loop: once for each element if ``each``, else until nothing changes any more, at most twice.

        Returns:
            The other ways out, the states after the last turn, and those at a ``break``. That a loop over data may be empty is left aside:
            no path is reported that exists only then.

        """
        flow = Flow()
        left: list[State] = []
        current = states
        self.frame.loops.append(node)
        try:
            for element in elements if each else [*elements, *elements]:
                before = {signature(state) for state in current}
                entered = [inner for state in current for inner in enter(state, element)]
                part = self._block(node.body, entered)
                flow.returns += part.returns
                flow.raises += part.raises
                left += part.breaks
                current = self.joined([*part.normal, *part.continues])
                if not current or (not each and {signature(state) for state in current} <= before):
                    break
        finally:
            self.frame.loops.pop()
        return flow, current, left

    def _ended(self, node: ast.For | ast.AsyncFor | ast.While, ended: list[State], left: list[State], flow: Flow) -> list[State]:
        """The states after a loop, its ``else`` block executed where no ``break`` left it."""
        if node.orelse and ended:
            part = self._block(node.orelse, ended)
            flow.add(part)
            ended = part.normal
        return self.joined([*ended, *left])

    # --- try and with

    def _try(self, node: Any, state: State) -> Flow:
        flow = Flow()
        before = state.copy()
        body = self._block(node.body, [state])
        handled = Flow(normal=body.normal)
        handled.add(body)
        raised = handled.raises
        if node.handlers:
            handled.raises = []
            # An exception may leave the body anywhere: the state is that of its beginning or its end, where they agree.
            entry = before
            for after in [*body.normal, *raised, *(state for state, _ in body.returns)]:
                entry = entry.join(after)
            for handler in node.handlers:
                entered = entry.copy()
                if handler.name:
                    self.bind(handler.name, NOTHING, entered)
                part = self._block(handler.body, [entered])
                handled.normal = [*handled.normal, *part.normal]
                handled.add(part)
        if node.orelse and body.normal:
            part = self._block(node.orelse, body.normal)
            handled.normal = [*part.normal, *[after for after in handled.normal if all(after is not one for one in body.normal)]]
            handled.add(part)
        if not node.finalbody:
            flow.normal = self.joined(handled.normal)
            flow.add(handled)
            return flow
        return self._finally(node.finalbody, handled)

    def _finally(self, body: list[ast.stmt], flow: Flow) -> Flow:
        """Execute a ``finally`` block on every way out."""
        result = Flow()

        def after(states: list[State]) -> list[State]:
            if not states:
                return []
            part = self._block(body, states)
            result.add(part)
            return part.normal

        result.normal = after(self.joined(flow.normal))
        result.breaks += after(flow.breaks)
        result.continues += after(flow.continues)
        result.raises += after(flow.raises)
        for state, value in flow.returns:
            result.returns += [(ended, value) for ended in after([state])]
        return result

    def _with(self, node: ast.With | ast.AsyncWith, state: State) -> Flow:
        return self._with_items(list(node.items), node.body, state)

    def _with_items(self, items: list[ast.withitem], body: list[ast.stmt], state: State) -> Flow:
        if not items:
            return self._block(body, [state])
        first, *others = items
        flow = Flow()
        for after, manager in self.outcomes(first.context_expr, state):
            part = self._managed(first, manager, after, lambda current: self._with_items(others, body, current))
            flow.normal += part.normal
            flow.add(part)
        flow.normal = self.joined(flow.normal) if len(flow.normal) > 1 else flow.normal
        return flow

    def _managed(self, item: ast.withitem, manager: Value, state: State, body: Callable[[State], Flow]) -> Flow:
        place = self.place(item.context_expr)
        if isinstance(manager, Choice):
            contexts = [member for member in manager.values if isinstance(member, Context | Partial)]
            if contexts:
                flow = Flow()
                for index, member in enumerate(contexts):
                    part = self._managed(item, member, state if index == len(contexts) - 1 else state.copy(), body)
                    flow.normal += part.normal
                    flow.add(part)
                return flow
        if isinstance(manager, Context):
            token = self.library.enter(self, state, manager, place)  # type: ignore[arg-type]
            if item.optional_vars is not None:
                self.assign(item.optional_vars, manager.value, state)
            flow = body(state)
            for after in [*flow.normal, *flow.breaks, *flow.continues, *flow.raises, *(state for state, _ in flow.returns)]:
                self.library.leave(self, after, manager, token)  # type: ignore[arg-type]
            return flow
        if isinstance(manager, Partial) and isinstance(manager.function, Function):
            return self._generator_manager(item, manager, state, body)
        thing = self.thing(manager)
        if thing is not None and isinstance(manager, Ref) and thing.cls is not None and thing.cls.method("__enter__") is not None:
            return self._object_manager(item, manager, state, body, place)
        if item.optional_vars is not None:
            self.assign(item.optional_vars, manager, state)
        return body(state)

    def _generator_manager(self, item: ast.withitem, manager: Partial, state: State, body: Callable[[State], Flow]) -> Flow:
        """A function decorated by ``contextmanager``: its ``yield`` executes the body of the ``with`` statement."""
        flow = Flow()
        place = self.place(item.context_expr)
        outer = len(self.frames)

        def on_yield(current: State, value: Value) -> list[State]:
            inner = self.frames[outer:]
            del self.frames[outer:]
            try:
                if item.optional_vars is not None:
                    self.assign(item.optional_vars, value, current)
                part = body(current)
            finally:
                self.frames += inner
            flow.add(part)
            return part.normal

        if not isinstance(manager.function, Function):
            raise AssertionError  # the caller looked
        ended = self.enter_function(state, manager.function, Arguments(manager.positional, manager.named), place, on_yield)
        flow.normal = [after for after, _ in ended]
        return flow

    def _object_manager(self, item: ast.withitem, manager: Ref, state: State, body: Callable[[State], Flow], place: Place) -> Flow:
        """An object with ``__enter__`` and ``__exit__``."""
        flow = Flow()
        for after, value in self.invoke_method(state, manager, "__enter__", Arguments(), place):
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value, after)
            part = body(after)
            none = Arguments((Const(None), Const(None), Const(None)))

            def leave(states: list[State], none: Arguments = none) -> list[State]:
                return [ended for current in states for ended, _ in self.invoke_method(current, manager, "__exit__", none, place)]

            flow.normal += leave(part.normal)
            flow.breaks += leave(part.breaks)
            flow.continues += leave(part.continues)
            flow.raises += leave(part.raises)
            flow.returns += [(ended, result) for current, result in part.returns for ended in leave([current])]
        return flow

    _STATEMENTS: dict[type[ast.stmt], Callable[[Statements, Any, State], Flow]] = {}  # noqa: RUF012 - filled below, then constant


Statements._STATEMENTS = {  # noqa: SLF001 - the class's own table
    ast.Expr: Statements._expression,
    ast.Assign: Statements._assignment,
    ast.AnnAssign: Statements._annotated,
    ast.AugAssign: Statements._augmented,
    ast.Return: Statements._return,
    ast.Raise: Statements._raise,
    ast.Delete: Statements._delete,
    ast.Assert: Statements._assert,
    ast.Global: Statements._global,
    ast.Nonlocal: Statements._nonlocal,
    ast.Import: Statements._import,
    ast.ImportFrom: Statements._import,
    ast.FunctionDef: Statements._function,
    ast.AsyncFunctionDef: Statements._function,
    ast.ClassDef: Statements._class,
    ast.If: Statements._if,
    ast.Match: Statements._match,
    ast.For: Statements._for,
    ast.AsyncFor: Statements._for,
    ast.While: Statements._while,
    ast.Try: Statements._try,
    ast.TryStar: Statements._try,
    ast.With: Statements._with,
    ast.AsyncWith: Statements._with,
    ast.Break: lambda machine, node, state: Flow(breaks=[state]),  # noqa: ARG005
    ast.Continue: lambda machine, node, state: Flow(continues=[state]),  # noqa: ARG005
}


def signature(state: State) -> object:
    """What keeps paths apart: the mode of every model, and whether gradients are recorded."""
    modes = frozenset(
        (address, mode.batchnorm, mode.rest, mode.frozen is not None, mode.undone is not None, mode.evaluated is not None)
        for address, mode in state.modes.items()
    )
    return modes, state.grad


def _as_load(target: ast.expr) -> ast.expr:
    return target  # the context of a name does not matter here


def _is_main_guard(test: ast.expr) -> bool:
    """``__name__ == "__main__"``, either way around."""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in (test.left, test.comparators[0]))


def _matches(pattern: ast.pattern, subject: Value) -> bool | None:
    """Whether a pattern fits a constant; ``None`` if unknown."""
    if isinstance(pattern, ast.MatchAs) and pattern.pattern is None:
        return True
    if isinstance(pattern, ast.MatchValue) and isinstance(pattern.value, ast.Constant) and isinstance(subject, Const):
        return bool(pattern.value.value == subject.value)
    if isinstance(pattern, ast.MatchOr) and isinstance(subject, Const):
        found = {_matches(part, subject) for part in pattern.patterns}
        return True if True in found else None if None in found else False
    return None


def _captured(pattern: ast.pattern) -> list[str]:
    return [node.name for node in ast.walk(pattern) if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name]
