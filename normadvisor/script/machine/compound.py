"""Statements that hold statements: branches, loops, ``try`` and ``with``, at which paths part."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from normadvisor.script.machine.core import Flow, Outcomes
from normadvisor.script.machine.statements import Statements, signature
from normadvisor.script.values import NOTHING, Arguments, Choice, Const, Context, Function, Partial, Place, Ref, Value, choice, merged_data

if TYPE_CHECKING:
    from normadvisor.script.project.modules import Project
    from normadvisor.script.protocol import Library
    from normadvisor.script.state import State

__all__ = ["Compound"]

_MOST_TURNS = 6
"""Elements of a loop executed one by one."""


class Compound(Statements):
    """Executes branches, loops, ``try`` and ``with``."""

    def __init__(self, project: Project, library: Library) -> None:
        super().__init__(project, library)
        self.statements |= {
            ast.If: self._if,
            ast.Match: self._match,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.While: self._while,
            ast.Try: self._try,
            ast.TryStar: self._try,
            ast.With: self._with,
            ast.AsyncWith: self._with,
        }

    # --- branches and loops

    def _if(self, node: ast.If, state: State) -> Flow:
        if _is_main_guard(node.test):
            return self._block(node.body if self.frame.module is self.main else node.orelse, [state])
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
            turns: list[Value] = found if each else [choice(found)] if found else [NOTHING]

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
            token = self.library.enter(self, state, manager, place)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, manager.value, state)
            flow = body(state)
            for after in [*flow.normal, *flow.breaks, *flow.continues, *flow.raises, *(state for state, _ in flow.returns)]:
                self.library.leave(self, after, manager, token)
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
        place = self.place(item.context_expr)
        outer = len(self.frames)
        ways: dict[int, tuple[str, Value, int]] = {}
        entered = False

        def on_yield(current: State, value: Value) -> list[State]:
            nonlocal entered
            entered = True
            inner = self.frames[outer:]
            del self.frames[outer:]
            try:
                if item.optional_vars is not None:
                    self.assign(item.optional_vars, value, current)
                part = body(current)
            finally:
                self.frames += inner
            going = list(part.normal)
            others = [(kind, ended, NOTHING) for kind in ("breaks", "continues", "raises") for ended in getattr(part, kind)]
            # What follows the yield is executed on every way out, and each way is taken up again after it. Managers may stand inside
            # one another: a path may be on its way out of several.
            for kind, ended, result in [*others, *(("returns", ended, result) for ended, result in part.returns)]:
                way = self.fresh_address()
                ways[way] = (kind, result, ended.leaving)
                ended.leaving = way
                going.append(ended)
            return going

        ended_in: Outcomes = []
        if isinstance(manager.function, Function):
            ended_in = self.enter_function(state, manager.function, Arguments(manager.positional, manager.named), place, on_yield)
        if not entered:  # the manager could not be followed
            return body(ended_in[0][0] if ended_in else state)
        flow = Flow()
        for after, _ in ended_in:
            kind, result, after.leaving = ways.get(after.leaving, ("normal", NOTHING, after.leaving))
            if kind == "returns":
                flow.returns.append((after, result))
            else:
                getattr(flow, kind).append(after)
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

