"""Calls: functions of the project are executed with their arguments, everything else is asked of the library."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, TypeAlias

from normadvisor.script.machine.attributes import SUPER, UNBOUND, Attributes
from normadvisor.script.machine.builtin_functions import BUILTIN_FUNCTIONS, CONTAINER_METHODS, text_method
from normadvisor.script.machine.core import Flow, Frame, Outcomes
from normadvisor.script.project.nodes import walk
from normadvisor.script.values import (
    NOTHING,
    Arguments,
    Bound,
    Choice,
    Class,
    Const,
    Data,
    Extern,
    Function,
    ModuleValue,
    Partial,
    Place,
    Ref,
    Tuple,
    Value,
    choice,
    merged_data,
)

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.state import State

__all__ = ["Calls"]

Method: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_MOST_FRAMES = 14
"""Calls followed into one another."""
_MOST_FORKS = 4
"""Alternatives of a callee followed one by one."""
_NOT_EXECUTED = frozenset({"forward", "__init__", "__call__"})
"""Methods of an ``nn.Module`` that the library stands for."""


class Calls(Attributes):
    """Calls of every kind of value."""

    def call_outcomes(self, node: ast.Call, state: State) -> Outcomes:
        """Evaluate a call."""
        place = self.place(node)
        if isinstance(node.func, ast.Attribute):
            receiver = self.evaluate(node.func.value, state)
            arguments = self.arguments(node, state)
            return self.invoke_method(state, receiver, node.func.attr, arguments, place)
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            return [(state, self._super())]
        function = self.evaluate(node.func, state)
        return self.invoke(state, function, self.arguments(node, state), place)

    def _super(self) -> Value:
        for frame in reversed(self.frames):
            if frame.receiver is not None and frame.owner is not None:
                return Partial(Extern(SUPER), (frame.receiver, Class(frame.owner)))
        return NOTHING

    def invoke(self, state: State, function: Value, arguments: Arguments, place: Place) -> Outcomes:
        """Call a value."""
        if isinstance(function, Choice):
            return self._invoke_each(state, [(member, None) for member in function.values], arguments, place)
        if isinstance(function, Function):
            return self.inline(state, function, arguments, place)
        if isinstance(function, Class):
            return self.construct(state, function.info, arguments, place)
        if isinstance(function, Partial):
            joined = Arguments(
                (*function.positional, *arguments.positional), (*function.named, *arguments.named), arguments.star, arguments.double_star
            )
            return self.invoke(state, function.function, joined, place)
        if isinstance(function, Bound):
            return self.invoke_method(state, function.receiver, function.name, arguments, place)
        if isinstance(function, Extern):
            return self._invoke_extern(state, function.name, arguments, place)
        if isinstance(function, Ref):
            return self._invoke_object(state, function, arguments, place)
        return [(state, self.unknown_call(state, [function], arguments, place))]

    def _invoke_each(self, state: State, callees: list[tuple[Value, str | None]], arguments: Arguments, place: Place) -> Outcomes:
        """Call each of several values (or their methods), each on a path of its own."""
        known = [(callee, name) for callee, name in callees if callee != Const(None)]
        plain = [item for item in known if isinstance(item[0], Data)]
        real = [item for item in known if not isinstance(item[0], Data)] or plain[:1]
        found: Outcomes = []
        states = [state, *(state.copy() for _ in real[1:_MOST_FORKS])]
        for (callee, name), current in zip(real[:_MOST_FORKS], states, strict=True):
            if name is None:
                found += self.invoke(current, callee, arguments, place)
            else:
                found += self.invoke_method(current, callee, name, arguments, place)
        if not found:
            return [(state, self.unknown_call(state, [], arguments, place))]
        return self.fewer(found)

    def _invoke_extern(self, state: State, name: str, arguments: Arguments, place: Place) -> Outcomes:
        if name.startswith(UNBOUND) and arguments.positional:
            rest = Arguments(arguments.positional[1:], arguments.named, arguments.star, arguments.double_star)
            method = name[len(UNBOUND) :]
            return [(state, self._library_method(state, arguments.positional[0], method, rest, place))]
        handler = BUILTIN_FUNCTIONS.get(name)
        if handler is not None:
            result = handler(self, state, arguments, place)
            if result is not None:
                return [(state, result)]
        result = self.library.call_extern(self, state, name, arguments, place)
        if result is None:
            result = self.unknown_call(state, [], arguments, place)
        return [(state, result)]

    def _invoke_object(self, state: State, ref: Ref, arguments: Arguments, place: Place) -> Outcomes:
        thing = self.things[ref.address]
        if thing.cls is not None and thing.kind == "instance" and (found := thing.cls.method("__call__")) is not None:
            return self.invoke(state, self.method_function(state, *found), self.with_receiver(ref, arguments), place)
        result = self.library.call_object(self, state, ref, arguments, place)
        return [(state, result if result is not None else self.unknown_call(state, [ref], arguments, place))]

    def unknown_call(self, state: State, callees: list[Value], arguments: Arguments, place: Place) -> Value:
        """Code that cannot be seen: what it gets may be changed, what it returns comes from what it gets."""
        values = [*callees, *arguments.values()]
        self.library.forget(self, state, values, place)
        result = self.library.operation(self, state, "call", values, place)
        if result is not None:
            return result
        data = merged_data(self.opened(state, values))
        return Data(data.calls, None, None, data.origins)

    def opened(self, state: State, values: list[Value]) -> list[Value]:
        """Values with the items of lists and dictionaries among them."""
        found: list[Value] = []
        for value in values:
            thing = self.thing(value)
            if thing is not None and isinstance(value, Ref) and thing.kind in {"list", "dict", "set"}:
                found += [item for item in state.fields_of(value.address).values() if not isinstance(item, Ref)]
            else:
                found.append(value)
        return found

    def invoke_method(self, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Outcomes:
        """Call a method."""
        if isinstance(receiver, Choice):
            if any(self._own_method(state, member, name) for member in receiver.values):
                return self._invoke_each(state, [(member, name) for member in receiver.values], arguments, place)
            return [(state, self._library_method(state, receiver, name, arguments, place))]
        if isinstance(receiver, Partial) and receiver.function == Extern(SUPER):
            return self._super_method(state, receiver, name, arguments, place)
        if isinstance(receiver, Extern):
            return self._invoke_extern(state, f"{receiver.name}.{name}", arguments, place)
        if isinstance(receiver, Class | ModuleValue):
            return self.invoke(state, self.attribute(state, receiver, name, place), arguments, place)
        if isinstance(receiver, Ref):
            thing = self.things[receiver.address]
            stored = state.get_field(receiver.address, name)
            if stored is not None and thing.kind not in {"list", "dict", "set"}:
                return self.invoke(state, stored, arguments, place)
            if thing.kind in {"list", "dict", "set"} and (handler := CONTAINER_METHODS.get(name)) is not None:
                result = handler(self, state, receiver, arguments, place)
                if result is not None:
                    return [(state, result)]
            found = thing.cls.method(name) if thing.cls is not None and (thing.kind == "instance" or name not in _NOT_EXECUTED) else None
            if found is not None:
                if thing.kind == "module" and computes(*found) and not self._inside(found[0]):
                    return [(state, self.library.run_method(self, state, receiver, name, arguments, place))]
                return self._invoke_own(state, receiver, found, arguments, place)
            if thing.cls is not None and thing.kind == "instance" and thing.cls.member(name) is not None:
                return self.invoke(state, self.attribute(state, receiver, name, place), arguments, place)
        if isinstance(receiver, Const) and isinstance(receiver.value, str):
            return [(state, text_method(receiver.value, name, arguments))]
        return [(state, self._library_method(state, receiver, name, arguments, place))]

    def _inside(self, info: ClassInfo) -> bool:
        """Whether a method of the same object's class is being executed: its calls of itself are its own business."""
        return bool(self.frames) and self.frame.owner is not None and self.frame.owner in info.mro()

    def _own_method(self, state: State, value: Value, name: str) -> bool:
        """Whether a method call leads into code of the project."""
        thing = self.thing(value)
        if thing is None or not isinstance(value, Ref):
            return isinstance(value, Class | ModuleValue)
        own = thing.cls is not None and name not in _NOT_EXECUTED and thing.cls.method(name) is not None
        return own or thing.kind in {"list", "dict", "set"} or state.get_field(value.address, name) is not None

    def _library_method(self, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value:
        result = self.library.call_method(self, state, receiver, name, arguments, place)
        return result if result is not None else self.unknown_call(state, [receiver], arguments, place)

    def _invoke_own(self, state: State, receiver: Ref, found: tuple[ClassInfo, Method], arguments: Arguments, place: Place) -> Outcomes:
        function = self.method_function(state, *found)
        if not isinstance(function, Function):
            return self.invoke(state, function, self.with_receiver(receiver, arguments), place)
        if function.kind == "static":
            return self.inline(state, function, arguments, place)
        if function.kind == "class":
            info = self.things[receiver.address].cls
            return self.inline(state, function, self.with_receiver(Class(info) if info is not None else NOTHING, arguments), place)
        if function.kind == "property":
            value = self.merged(state, self.inline(state, function, Arguments((receiver,)), place))
            return self.invoke(state, value, arguments, place)
        return self.inline(state, function, self.with_receiver(receiver, arguments), place)

    def _super_method(self, state: State, receiver: Partial, name: str, arguments: Arguments, place: Place) -> Outcomes:
        itself, start = receiver.positional
        thing = self.thing(itself)
        if not isinstance(start, Class):
            return [(state, NOTHING)]
        order = thing.cls.mro() if thing is not None and thing.cls is not None else start.info.mro()
        after = list(order)[list(order).index(start.info) + 1 :] if start.info in order else list(start.info.mro())[1:]
        for info in after:
            node = info.methods.get(name)
            if node is not None and not (thing is not None and thing.kind != "instance" and name in _NOT_EXECUTED):
                return self.invoke(state, self.method_function(state, info, node), self.with_receiver(itself, arguments), place)
        if name == "__init__" or thing is None:
            return [(state, Const(None))]
        return [(state, self._library_method(state, itself, name, arguments, place))]

    def with_receiver(self, receiver: Value, arguments: Arguments) -> Arguments:
        """Arguments with ``self`` before them."""
        return Arguments((receiver, *arguments.positional), arguments.named, arguments.star, arguments.double_star)

    def construct(self, state: State, info: ClassInfo, arguments: Arguments, place: Place) -> Outcomes:
        """Build an object of a project class."""
        if info.externals - {"object", "abc.ABC"}:
            result = self.library.build(self, state, info, arguments, place)
            if result is not None:
                return [(state, result)]
        ref = self.new(state, "instance", place, name=info.name, cls=info, arguments=arguments)
        found = info.method("__init__")
        if found is None:
            self._set_dataclass_fields(state, ref, info, arguments)
            return [(state, ref)]
        function = self.method_function(state, *found)
        return [(after, ref) for after, _ in self.invoke(state, function, self.with_receiver(ref, arguments), place)]

    def _set_dataclass_fields(self, state: State, ref: Ref, info: ClassInfo, arguments: Arguments) -> None:
        """Fields of a dataclass, in the order of their annotations."""
        names = [
            node.target.id
            for owner in reversed(list(info.mro()))
            for node in owner.node.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        ]
        for position, name in enumerate(dict.fromkeys(names)):
            value = arguments.get(position, name)
            if value is not None:
                state.fields[ref.address, name] = value

    # --- execution of project functions

    def inline(self, state: State, function: Function, arguments: Arguments, place: Place) -> Outcomes:
        """Execute a function of the project."""
        if function.kind == "context_manager":
            return [(state, Partial(function, arguments.positional, arguments.named))]  # the with statement executes it
        return self.enter_function(state, function, arguments, place)

    def enter_function(
        self, state: State, function: Function, arguments: Arguments, place: Place, on_yield: object = None
    ) -> Outcomes:
        """Execute the body of a function, unless it is being executed already or the budget is spent."""
        too_deep = len(self.frames) > _MOST_FRAMES or self.steps > self.steps_with_calls
        if too_deep or sum(frame.function is not None and frame.function.node is function.node for frame in self.frames):
            return [(state, self.unknown_call(state, [], arguments, place))]
        self.reached.add(function.node)
        environment = self.new_environment(state, function.module, function.closure)
        receiver = arguments.positional[0] if function.owner is not None and arguments.positional and function.kind != "static" else None
        callers = (place.location, *place.callers) if place.text else ()
        frame = Frame(function.module, environment, function, function.owner, receiver, callers[:6])
        frame.on_yield = on_yield  # type: ignore[assignment]
        self.bind_parameters(state, function, arguments, environment, place)
        tokens = [(context, self.library.enter(self, state, context, place)) for context in function.contexts]
        self.frames.append(frame)
        try:
            found = self._execute_body(state, function, frame)
        finally:
            self.frames.pop()
        for after, _ in found:
            for context, token in reversed(tokens):
                self.library.leave(self, after, context, token)
            if not _keeps_environment(function.node):
                after.names.pop(environment, None)
        return self.fewer(found)

    def _execute_body(self, state: State, function: Function, frame: Frame) -> Outcomes:
        if isinstance(function.node, ast.Lambda):
            return self.outcomes(function.node.body, state)
        flow: Flow = self.execute(function.node.body, [state])
        found: Outcomes = [*((after, Const(None)) for after in flow.normal), *flow.returns]
        if not found and frame.on_yield is None:
            # Every path raises: whoever calls goes on only where it did not happen.
            found = [(after, NOTHING) for after in flow.raises[:1]] or [(state, NOTHING)]
        if frame.yielded and frame.on_yield is None:
            return [(after, Tuple((), choice(frame.yielded))) for after, _ in found]
        return found

    def bind_parameters(self, state: State, function: Function, arguments: Arguments, environment: int, place: Place) -> None:
        """Bind the parameters of a function."""
        names = state.environment(environment)
        spec = function.node.args
        positional = [*spec.posonlyargs, *spec.args]
        values = list(arguments.positional)
        named = dict(arguments.named)
        for index, parameter in enumerate(positional):
            if index < len(values):
                names[parameter.arg] = values[index]
            else:
                names[parameter.arg] = self._named_argument(function, parameter.arg, named, arguments)
        extra = tuple(values[len(positional) :])
        if spec.vararg is not None:
            names[spec.vararg.arg] = Tuple(extra, arguments.star)
        for parameter in spec.kwonlyargs:
            names[parameter.arg] = self._named_argument(function, parameter.arg, named, arguments)
        if spec.kwarg is not None:
            ref = self.new(state, "dict", place, tag=f"**{spec.kwarg.arg} {environment}")
            for name, value in named.items():
                state.fields[ref.address, f"[{name!r}]"] = value
            if arguments.double_star is not None:
                state.fields[ref.address, "[*]"] = arguments.double_star
            names[spec.kwarg.arg] = ref

    def _named_argument(self, function: Function, name: str, named: dict[str, Value], arguments: Arguments) -> Value:
        if name in named:
            return named.pop(name)
        default = function.defaults.get(name)
        if not arguments.complete:
            hidden = arguments.star if arguments.star is not None else arguments.double_star
            return choice([hidden or NOTHING, *([default] if default is not None else [])])
        return default if default is not None else NOTHING

    def fewer(self, outcomes: Outcomes) -> Outcomes:
        """Outcomes with states joined that agree in every mode."""
        raise NotImplementedError


_ACTIVE = re.compile(
    r"\.eval\(|\.train\(|\.training\s*=|backward\(|\.step\(|no_grad|inference_mode|optim\.|\.requires_grad|load_state_dict"
)


def computes(info: ClassInfo, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a method of a model is another ``forward``: takes data, runs parts, returns something, and does nothing else."""
    known = getattr(node, "_normadvisor_computes", None)
    if known is None:
        text = info.module.segment(node)
        parameters = len(node.args.posonlyargs) + len(node.args.args) + (node.args.vararg is not None)
        plain = [item for item in node.decorator_list if isinstance(item, ast.Attribute | ast.Name) and "no_grad" not in ast.unparse(item)]
        decorated = len(plain) < len(node.decorator_list)
        runs = any(
            isinstance(inner, ast.Call)
            and ((isinstance(inner.func, ast.Name) and inner.func.id == "self") or _is_part_call(inner.func, info))
            for inner in walk(node)
        )
        returns = any(isinstance(inner, ast.Return) and inner.value is not None for inner in walk(node))
        known = parameters > 1 and runs and returns and not decorated and _ACTIVE.search(text) is None
        node._normadvisor_computes = known  # type: ignore[union-attr]  # noqa: SLF001 - found out once per node
    return bool(known)


def _is_part_call(function: ast.expr, info: ClassInfo) -> bool:
    """``self.encoder(...)``, where ``encoder`` is no method, or ``self.forward(...)``."""
    if isinstance(function, ast.Subscript):
        function = function.value
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "self"):
        return False
    return function.attr == "forward" or info.method(function.attr) is None


def _keeps_environment(node: ast.AST) -> bool:
    """Whether something inside a function may outlive a call: a nested function."""
    known = getattr(node, "_normadvisor_closures", None)
    if known is None:
        known = any(
            isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef)
            for inner in walk(node)
            if inner is not node
        )
        node._normadvisor_closures = known  # type: ignore[attr-defined]  # noqa: SLF001 - found out once per node
    return bool(known)
