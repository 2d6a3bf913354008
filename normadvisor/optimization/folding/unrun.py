"""Code that did not run with the inputs at hand, and reads what stands between a layer and its norm.

The graph of one run shows who uses a value in that run. A branch that larger maps or another argument take, or a method that others call,
may use it as well; what it gets is another value once the norm is folded.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from normadvisor.optimization.folding.between import Steps, reads_between, steps_of
from normadvisor.optimization.folding.inline import Inline
from normadvisor.optimization.folding.running import Run, Visit, observed
from normadvisor.optimization.folding.written import Function, bound, calls, function_of, loads
from normadvisor.optimization.forward import find
from normadvisor.rewrite.proof.inputs import Arguments

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Point", "Unrun"]


@dataclass(frozen=True, slots=True)
class Point:
    """A layer, a norm, or a call of either in a forward."""

    name: str
    """Of the module, or of that which holds the numbers of the call."""
    inline: Inline | None = None


@dataclass(slots=True)
class Unrun:
    """Looks at the code of a model, which is run once when it is first asked for."""

    model: nn.Module
    inputs: Arguments | None
    _run: Run | None = None
    _has_run: bool = False
    _functions: dict[tuple[CodeType, int], Function | None] = field(default_factory=dict)
    _idle_methods: dict[str, list[tuple[str, set[str]]]] = field(default_factory=dict)
    _idle_steps: dict[str, list[tuple[str, Steps]]] = field(default_factory=dict)
    _modules: dict[str, nn.Module] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)

    def reader(self, first: Point, second: Point) -> str:
        """What reads a value between two points that the recorded run does not show; empty where nothing is found."""
        run = self._seen()
        if run is None:
            return ""
        where = "" if first.inline is not None else run.kept.get(id(self._modules.get(first.name)), "")
        if where:
            return f"{where} holds what {_short(first.name)} gives once the model has run"
        later = self._visits(run, second)
        for one in self._visits(run, first):
            other = next((each for each in later if each.time >= one.time), None)
            if other is not None and (found := self._between(one, other, first.name, second.name)):
                return found
        return self._method(first.name, second.name)

    def border(self, first: Point, second: Point) -> str:
        """What reads or gives the value between two points, which is another one once they are one: a submodule or a method; or empty."""
        shared = 0
        for one, other in zip(first.name.split("."), second.name.split("."), strict=False):
            if one != other:
                break
            shared += 1
        below = first.name.split(".")[shared:]
        if len(below) > 1:
            return ".".join(first.name.split(".")[: shared + 1])
        run = self._seen()
        if run is None:
            return ""
        later = self._visits(run, second)
        for start in self._visits(run, first):
            end = next((each for each in later if each.time >= start.time), None)
            ways = (start.chain(), end.chain()) if end is not None else ([], [])
            common = sum(1 for a, b in zip(*ways, strict=False) if a.record is b.record)
            if len(ways[0]) > common:
                return ways[0][common].record.code.co_name
        return "" if first.inline is not None or second.inline is not None else self._method_between(first.name, second.name)

    def _method_between(self, first: str, second: str) -> str:
        """A method that did not run, calls both layers, and reads what stands between."""
        for owner, module in self._owners(first, second):
            below = [name.removeprefix(f"{owner}.") for name in (first, second)]
            if owner not in self._idle_steps:
                found = ((name, self._function(code, id(module))) for name, code in _methods(type(module)))
                idle = [(name, each) for name, each in found if each is not None and not each.did_run(each.node)]
                self._idle_steps[owner] = [(name, steps_of(each)) for name, each in idle]
            for name, steps in self._idle_steps[owner]:
                if reads_between(steps, below[0], below[1]):
                    return name
        return ""

    def _owners(self, first: str, second: str) -> Iterator[tuple[str, nn.Module]]:
        """Modules that hold both, the innermost first."""
        owner = first
        while owner:
            owner = owner.rpartition(".")[0]
            module = self._modules.get(owner)
            if module is not None and (not owner or f"{second}.".startswith(f"{owner}.")):
                yield owner, module

    def _seen(self) -> Run | None:
        if not self._has_run and self.inputs is not None:
            self._has_run = True
            self._run = observed(self.model, self.inputs)
            for name, module in self.model.named_modules():
                self._modules[name], self._names[id(module)] = module, name
        return self._run

    def _visits(self, run: Run, point: Point) -> list[Visit]:
        if point.inline is None:
            module = next((module for name, module in self.model.named_modules(remove_duplicate=False) if name == point.name), None)
            return run.visits.get(id(module), [])
        line = find(point.inline.local.graph, point.inline.node).meta.get("line")
        found = []
        for record in run.records:
            function = self._function(record.code, record.module) if record.module == id(point.inline.local.module) else None
            places = [count for count, (_, step) in enumerate(record.steps, 1) if function is not None and _is_on(function, step, line)]
            found += [Visit(record, places[-1])] if places else []
        return found

    def _function(self, code: CodeType, module: int) -> Function | None:
        key = (code, module)
        if key not in self._functions:
            node = function_of(code)
            ran = self._run.ran.get(key, set()) if self._run is not None else set()
            left = set() if node is None else self._left(node, key)
            self._functions[key] = None if node is None else Function(code, node, ran, left, self._modules.get(self._names.get(module, "")))
        return self._functions[key]

    def _left(self, node: ast.FunctionDef, key: tuple[CodeType, int]) -> set[str]:
        """Parameters that no call in the model's own code hands over, so that they have their defaults whatever the model is given."""
        records = [record for record in (self._run.records if self._run is not None else ()) if (record.code, record.module) == key]
        given = node.args
        every = [each.arg for each in (*given.posonlyargs, *given.args)]
        own = 1 if every[:1] == ["self"] else 0
        free = {*every[len(every) - len(given.defaults) :], *(each.arg for each in given.kwonlyargs)}
        for record in records:
            call = _call_at(record.parent)
            if call is None or any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords):
                return set()
            free -= {*every[: own + len(call.args)], *(each.arg or "" for each in call.keywords)}
        return free if records else set()

    def _between(self, one: Visit, other: Visit, first: str, second: str) -> str:
        """Functions that called one and the other: the innermost of both, and those that hand the value back to it or on from it."""
        ways = one.chain(), other.chain()
        common = sum(1 for a, b in zip(*ways, strict=False) if a.record is b.record)
        found = ""
        for level, visit in enumerate(ways[0]):
            function = self._function(visit.record.code, visit.record.module)
            if function is None or not function.switched:
                continue
            if level == common - 1:
                found = self._read(function, visit, ways[1][level], first)
            elif level >= common:
                found = self._read(function, visit, None, first)
            found = found or self._called_alone(function, visit, first, second)
            if found:
                return found
        for visit in ways[1][common:]:
            function = self._function(visit.record.code, visit.record.module)
            found = found or (self._taken(function, visit, first) if function is not None and function.switched else "")
        return found

    def _read(self, function: Function, start: Visit, end: Visit | None, first: str) -> str:
        """Whether a part that did not run reads a name that holds the value."""
        begin = function.statement(_step(start))
        stop = function.statement(_step(end)) if end is not None else None
        if begin is None or (end is not None and stop is None):
            return ""
        order, ends = _order(function, begin, stop, start, end)
        unrun = {id(each): part for part in function.switched for each in part}
        live, behind = bound(begin), begin is stop and ends is None
        other = _instead(function, begin, loops=ends is not None)
        for statement in order:
            if id(statement) in other:
                continue
            for part in _parts_at(statement, unrun, function):
                if loads(part, live) and not (stop is None and isinstance(part, ast.Return) and isinstance(part.value, ast.Name)):
                    return f"{_line(part, start)} reads what {_short(first)} gives"
            if statement is ends:
                return ""
            if not function.did_run(statement):
                continue
            if statement is stop:
                behind = True
                live = live - bound(statement)
            elif not behind and _head_loads(statement, live):
                live = live | bound(statement)
            else:
                live = live - bound(statement)
        return ""

    def _taken(self, function: Function, visit: Visit, first: str) -> str:
        """Whether a part ahead of the second point, in a function that was handed the value, reads it."""
        stop = function.statement(_step(visit))
        if stop is None:
            return ""
        given = {each.arg for each in (*function.node.args.posonlyargs, *function.node.args.args)} - {function.own}
        live = {name for name in given if loads(stop, {name})}
        for part in (each for block in function.switched for each in block):
            if getattr(part, "lineno", 0) <= stop.lineno and loads(part, live):
                return f"{_line(part, visit)} reads what {_short(first)} gives"
        return ""

    def _called_alone(self, function: Function, visit: Visit, first: str, second: str) -> str:
        """Whether a part calls the first layer, and nothing that runs with it the second."""
        owner = self._names.get(visit.record.module, "")
        for part in function.unrun:
            called = {name for each in part for name in self._all_calls(function, each, owner, set())}
            if not _only(called, first, second) or _only(called, second, first):
                continue
            ends = isinstance(part[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))
            after = [each for each in function.statements if each.lineno > (getattr(part[-1], "end_lineno", 0) or 0)]
            later = {name for each in after for name in self._all_calls(function, each, owner, set())}
            if ends or not isinstance(part[-1], ast.stmt) or not _only(later, second, first):
                return f"{_line(part[0], visit)} calls {_short(first)} without {_short(second)}"
        return ""

    def _all_calls(self, function: Function, node: ast.AST, owner: str, seen: set[str]) -> Iterator[str]:
        """Qualified names of what is called, also through other methods of the same object."""
        for name in calls(node, function.own):
            method = _method_of(type(self._modules[owner]), name)
            if method is not None and name not in seen:
                inner = self._function(method.__code__, id(self._modules[owner]))
                if inner is not None:
                    yield from self._all_calls(inner, inner.node, owner, seen | {name})
            else:
                yield f"{owner}.{name}" if owner else name

    def _method(self, first: str, second: str) -> str:
        """A method of a module that holds both, which did not run, and calls the first without the second."""
        for owner, module in self._owners(first, second):
            for name, called in self._idle(owner, module):
                if _only(called, first, second) and not _only(called, second, first):
                    return f"{type(module).__name__}.{name}, which did not run, calls {_short(first)} without {_short(second)}"
        return ""

    def _idle(self, owner: str, module: nn.Module) -> list[tuple[str, set[str]]]:
        """The methods of a module that did not run, but for helpers of others, each with the names of all that it calls."""
        if owner not in self._idle_methods:
            found = {name: self._function(code, id(module)) for name, code in _methods(type(module))}
            functions = {name: function for name, function in found.items() if function is not None}
            helpers = {called for name, each in functions.items() for called in calls(each.node, each.own) if called != name}
            self._idle_methods[owner] = [
                (name, set(self._all_calls(function, function.node, owner, {name})))
                for name, function in functions.items()
                if name not in helpers and not function.did_run(function.node)  # What calls a helper is looked at by itself.
            ]
        return self._idle_methods[owner]


def _method_of(cls: type, name: str) -> FunctionType | None:
    found = getattr(cls, name, None)
    found = inspect.unwrap(found) if callable(found) else None
    return found if inspect.isfunction(found) else None


def _call_at(visit: Visit | None) -> ast.Call | None:
    """The call that was being made."""
    node = function_of(visit.record.code) if visit is not None else None
    if node is None or visit is None:
        return None
    place = list(visit.record.code.co_positions())[_step(visit) // 2]
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and (each.lineno, each.end_lineno, each.col_offset, each.end_col_offset) == place:
            return each
    return None


def _short(name: str) -> str:
    return name.rpartition(".")[2] or "the model"


def _step(visit: Visit) -> int:
    return visit.record.steps[visit.count - 1][1]


def _is_on(function: Function, step: int, line: Any) -> bool:
    place = function.place(step)
    return place is not None and isinstance(line, int) and place[0][0] <= line <= place[1][0]


def _order(
    function: Function, begin: ast.stmt, stop: ast.stmt | None, start: Visit, end: Visit | None
) -> tuple[Sequence[ast.stmt], ast.stmt | None]:
    """The statements that may run behind ``begin``, and the last of them where a loop leads back to ``stop``."""
    every = function.statements
    place = every.index(begin)
    if stop is None or end is None:
        return every[place + 1 :], None
    passed = [step for _, step in start.record.steps[start.count : end.count]]
    again = begin is stop and any(not function.is_in(step, begin) for step in passed)
    if not again and every.index(stop) >= place:
        return every[place + (begin is not stop) :], None
    loops = [each for each in every if isinstance(each, (ast.For, ast.While)) and _within(begin, each) and _within(stop, each)]
    body = [each for each in every if loops and each is not loops[-1] and _within(each, loops[-1])]
    if not body:
        return [], None
    turn = body.index(begin)
    return [*body[turn + 1 :], *body[:turn], *([stop] if begin is stop else [])], stop


def _instead(function: Function, begin: ast.stmt, *, loops: bool) -> set[int]:
    """What runs instead of a statement rather than behind it: the other half of a condition, in a loop of one that stays as it is."""
    found: set[int] = set()
    for each in function.statements:
        if isinstance(each, ast.If) and (not loops or function.is_constant(each.test)):
            for half, other in ((each.body, each.orelse), (each.orelse, each.body)):
                if any(_within(begin, part) for part in half):
                    found |= {id(node) for part in other for node in ast.walk(part)}
    return found


def _within(node: ast.AST, outer: ast.AST) -> bool:
    return any(each is node for each in ast.walk(outer))


def _parts_at(statement: ast.stmt, unrun: dict[int, list[ast.AST]], function: Function) -> Iterator[ast.AST]:
    """What did not run of a statement, itself included."""
    if id(statement) in unrun:
        yield statement
    elif function.did_run(statement):
        blocks = {id(each) for name in ("body", "orelse", "finalbody", "handlers", "cases") for each in _list(statement, name)}
        for head in ast.iter_child_nodes(statement):
            if id(head) not in blocks:
                yield from (each for each in ast.walk(head) if id(each) in unrun)


def _head_loads(statement: ast.stmt, names: set[str]) -> bool:
    """Whether a statement itself, without those in it, reads one of the names."""
    blocks = {id(each) for name in ("body", "orelse", "finalbody", "handlers", "cases") for each in _list(statement, name)}
    return any(loads(head, names) for head in ast.iter_child_nodes(statement) if id(head) not in blocks)


def _list(node: ast.AST, name: str) -> list[ast.AST]:
    found = getattr(node, name, [])
    return found if isinstance(found, list) else []


def _line(part: ast.AST, visit: Visit) -> str:
    path = Path(visit.record.code.co_filename).name
    return f"line {getattr(part, 'lineno', 0)} of {path}, which did not run with these inputs,"


def _only(called: set[str], one: str, other: str) -> bool:
    """Whether a call leads to one layer and not to the other."""
    return any(f"{one}.".startswith(f"{name}.") and not f"{other}.".startswith(f"{name}.") for name in called)


def _methods(cls: type) -> Iterator[tuple[str, CodeType]]:
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        if name.startswith("__") or not inspect.isfunction(value):
            continue
        code = inspect.unwrap(value).__code__
        written = name != "forward" or "_normadvisor_text" not in vars(cls)  # else by this package
        if written and not f"{inspect.unwrap(value).__module__}.".startswith("torch."):
            yield name, code
