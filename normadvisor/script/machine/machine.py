"""The interpreter, and what it begins with: the body of a file, then every function that nothing reached."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from normadvisor.script.machine.compound import Compound
from normadvisor.script.machine.core import BudgetError, Frame, addresses, become
from normadvisor.script.machine.triggers import LOADS, MODULE_TRIGGERS, TRIGGERS, calls_what_it_builds
from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.state import UNKNOWN_MODE, State
from normadvisor.script.values import NOTHING, Arguments, Class, Function, Place, Ref, Value

if TYPE_CHECKING:
    from normadvisor.script.project.modules import Project, SourceModule
    from normadvisor.script.protocol import Library

__all__ = ["Machine"]

_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_CALLED = re.compile(r"\b(?:def\s++\w++|(\w++))\(")
"""What is called in a line; nothing for a definition."""
_SWITCHES = re.compile(r"\.eval\(\)|\.train\(|\.training\b")
_MOST_ROOTS = 400
"""Functions of one file analysed on their own."""


class Machine(Compound):
    """Analyses one file."""

    def __init__(self, project: Project, library: Library) -> None:
        super().__init__(project, library)
        self._built: dict[ClassInfo, tuple[State, Value, dict[str, Value]]] = {}
        """Objects whose methods are analysed on their own: built once for all of them, with the state after that and the parameters."""

    _given: dict[str, Value]
    """Parameters made up for the constructor and the method of one root, by name."""

    def analyze(self, module: SourceModule) -> list[str]:
        """Execute everything in a file; events are collected in :attr:`events`.

        Returns:
            Why functions were left out: ``train takes too many steps``.

        """
        given_up: list[str] = []
        state = self._execute_module(module, given_up)
        self.forget_unreachable(state)
        wanted = _wanted(self, module, state)
        for index, (info, node) in enumerate(wanted):
            if index >= _MOST_ROOTS:
                given_up.append(f"{node.name} and what follows it are one function too many")
                break
            if node not in self.reached:
                self._root(module, info, node, state.copy(), given_up)
        self._part()
        return given_up

    def _part(self) -> None:
        """Let go of what points back here, so that everything is gone as soon as nobody asks for it any more."""
        self.statements.clear()
        self._handlers.clear()

    def _execute_module(self, module: SourceModule, given_up: list[str]) -> State:
        state = State()
        self.main = module
        environment = self.module_environment(state, module)
        self.frames = [Frame(module, environment)]
        self.new_budget()
        kept = len(self.events)
        try:
            flow = self.execute(module.tree.body, [state])
            ended = [*flow.normal, *flow.raises, *(after for after, _ in flow.returns)]
        except (BudgetError, RecursionError) as error:
            given_up.append(_reason("<module>", error))
            del self.events[kept:]
            ended = [state]
        result = ended[0] if ended else state
        for other in ended[1:]:
            result = result.join(other)
        self.frames = []
        return result

    def _root(self, module: SourceModule, info: ClassInfo | None, node: _FunctionNode, state: State, given_up: list[str]) -> None:
        """Analyse a function that nothing called, with parameters nobody knows."""
        self.frames = [Frame(module, self.module_environment(state, module))]
        self.new_budget()
        kept = len(self.events)
        state.grad, state.no_grad, state.assumptions = "on", None, {}
        built = self._built.get(info) if info is not None else None
        if built is not None:
            become(state, built[0].copy())
        try:
            place = self.place(node)
            function = self.method_function(state, info, node) if info is not None else self.define(node, state)
            if not isinstance(function, Function):
                function = _innermost(function) or self.define(node, state, owner=info, decorated=False)
            if not isinstance(function, Function):
                return
            self._given = {}
            receiver = None
            if built is not None and function.kind not in {"static", "class"}:
                receiver, self._given = built[1], dict(built[2])
            elif info is not None and function.kind != "static":
                receiver = self._receiver(state, info, function, module)
            arguments = self._parameters(state, function, receiver)
            self.enter_function(state, function, arguments, Place(place.location, place.function), on_yield=None)
        except (BudgetError, RecursionError) as error:
            given_up.append(_reason(node.name, error))
            del self.events[kept:]
            if built is None and info is not None:
                self._built.pop(info, None)  # with what was seen while it was built
        finally:
            self.frames = []

    def forget_unreachable(self, state: State) -> None:
        """Drop the fields of objects that no name leads to."""
        reached: set[int] = set()
        waiting = [address for names in state.names.values() for value in names.values() for address in addresses(value)]
        while waiting:
            address = waiting.pop()
            if address in reached:
                continue
            reached.add(address)
            thing = self.things.get(address)
            if thing is not None and thing.arguments is not None:
                waiting += [inner for value in thing.arguments.values() for inner in addresses(value)]
            if thing is not None and thing.parent is not None:
                waiting.append(thing.parent[0])
            for value in state.fields_of(address).values():
                waiting += addresses(value)
        for address in state.fields.addresses():
            if address not in reached and self.things[address].parent is None:
                state.fields.drop(address)

    def _parameters(self, state: State, function: Function, receiver: Value | None) -> Arguments:
        """Values for parameters that nobody passes: defaults do not count, since callers that are out of sight may pass anything."""
        spec = function.node.args
        positional = [*spec.posonlyargs, *spec.args]
        values: list[Value] = []
        named: list[tuple[str, Value]] = []
        if receiver is not None and positional:
            values.append(receiver)
            positional = positional[1:]
        for parameter in (*positional, *spec.kwonlyargs):
            place = Place(function.module.location(parameter), function.qualname, (), None, parameter.arg)
            # What a method calls by the name that the constructor used is the same thing.
            value = self._given.get(parameter.arg)
            if value is None:
                value = self.library.parameter(self, state, parameter.arg, parameter.annotation, place)
            self._given[parameter.arg] = value
            if parameter in spec.kwonlyargs:
                named.append((parameter.arg, value))
            else:
                values.append(value)
        return Arguments(tuple(values), tuple(named), NOTHING if spec.vararg else None, NOTHING if spec.kwarg else None)

    def _receiver(self, state: State, info: ClassInfo, function: Function, module: SourceModule) -> Value:
        """``self``: an object built with parameters nobody knows."""
        if function.kind == "class":
            return Class(info)
        place = Place(module.location(info.node), info.qualname, (), None, info.name)
        if info.is_module:
            ref = self.new(state, "module", place, name=info.name, cls=info)
            state.modes[ref.address] = UNKNOWN_MODE
            return ref
        found = info.method("__init__")
        arguments = Arguments()
        if found is not None and found[1] is not function.node:
            made = self.method_function(state, *found)
            if isinstance(made, Function):
                arguments = self._parameters(state, made, NOTHING)
                arguments = Arguments(arguments.positional[1:], arguments.named, arguments.star, arguments.double_star)
        if found is not None and found[1] is function.node:
            return self.new(state, "instance" if info.is_module is False else "module", place, name=info.name, cls=info)
        before = set(state.modes)
        outcomes = self.construct(state, info, arguments, place)
        value = self.merged(state, outcomes)
        if not isinstance(value, Ref):
            value = self.new(state, "instance", place, name=info.name, cls=info)
        if self.things[value.address].kind != "instance" or _switches_elsewhere(info):
            # Which method ran before is not known, so neither is the mode.
            for address in [*state.modes, value.address]:
                if address not in before or address == value.address:
                    frozen = state.modes[address].frozen if address in state.modes else None
                    state.modes[address] = replace(UNKNOWN_MODE, frozen=frozen)
        state.assumptions = {}
        self._built[info] = (state.copy(), value, dict(self._given))
        return value


def _reason(name: str, error: Exception) -> str:
    """Why a function was left out."""
    return f"{name} is nested too deeply" if isinstance(error, RecursionError) else f"{name} takes too many steps"


def _switches_elsewhere(info: ClassInfo) -> bool:
    """Whether any method of a class but ``__init__`` switches modes."""
    return any(
        _SWITCHES.search(owner.module.segment(node)) for owner in info.mro() for name, node in owner.methods.items() if name != "__init__"
    )


def _wanted(machine: Machine, module: SourceModule, state: State) -> list[tuple[ClassInfo | None, _FunctionNode]]:
    """The functions of a file that may show something: by their text, or since they use a model that the file or their object holds."""
    names = state.names.get(machine.module_environment(state, module), {})
    models = [name for name, value in names.items() if (thing := machine.thing(value)) is not None and thing.kind in {"module", "ema"}]
    used = re.compile(rf"\b(?:{'|'.join(map(re.escape, models))})\b") if models else None
    holders: dict[ClassInfo, bool] = {}
    found = []
    functions = _functions(machine, module)
    for info, node in functions:
        if info is not None and _replaced(info, node, functions, module.text):
            continue
        text = " ".join([*map(module.segment, node.decorator_list), module.segment(node)])
        if info is not None and info.is_module:
            wanted = MODULE_TRIGGERS.search(text) is not None
        elif (
            TRIGGERS.search(text) is not None
            or (LOADS.search(text) is not None and calls_what_it_builds(node))
            or (used is not None and used.search(text) is not None)
        ):
            wanted = True
        else:
            if info is not None and info not in holders:
                holders[info] = any(TRIGGERS.search(owner.module.segment(owner.node)) for owner in info.mro())
            wanted = info is not None and holders[info] and "self." in text
        if wanted:
            found.append((info, node))
    return found


def _replaced(info: ClassInfo, node: _FunctionNode, functions: list[tuple[ClassInfo | None, _FunctionNode]], text: str) -> bool:
    """Whether a file only uses a class through others that extend it and define this method anew."""
    others = [other for other, method in functions if other is not None and other is not info and method.name == node.name]
    heirs = [other for other in others if info in other.mro()]
    return bool(heirs) and re.search(rf"(?<!class )\b{re.escape(info.name)}\((?!\s*(?:object)?\):)", text) is None


def _functions(machine: Machine, module: SourceModule) -> list[tuple[ClassInfo | None, _FunctionNode]]:
    """Functions and methods of a file, those first that no other calls by name."""
    found: list[tuple[ClassInfo | None, _FunctionNode]] = []
    pending: list[tuple[ClassInfo | None, ast.stmt, str]] = [(None, node, "") for node in module.tree.body]
    while pending:
        info, node, around = pending.pop(0)
        if isinstance(node, _FunctionNode):
            found.append((info, node))
        elif isinstance(node, ast.ClassDef):
            inner = machine.project.class_info(module, node, f"{around}{node.name}")
            pending = [*((inner, child, f"{inner.qualname}.") for child in node.body), *pending]
        elif isinstance(node, ast.If | ast.Try | ast.With):
            bodies = [*node.body, *getattr(node, "orelse", []), *getattr(node, "finalbody", [])]
            bodies += [child for handler in getattr(node, "handlers", []) for child in handler.body]
            pending = [*((info, child, around) for child in bodies), *pending]
    called = {name for line in module.lines if "(" in line for name in _CALLED.findall(line)}
    return sorted(found, key=lambda item: (item[1].name in called or item[1].name.startswith("_"), item[1].lineno))


def _innermost(value: Value) -> Function | None:
    """The function inside a partial application."""
    function = getattr(value, "function", None)
    return function if isinstance(function, Function) else None


