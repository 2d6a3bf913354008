"""What torch and its neighbours do: asks the handlers of the registries, and says what holds for everything nobody handles."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from normadvisor.script.library import (
    accumulation,
    backward,
    calls,
    classnames,
    constructors,
    copies,
    dropout,
    exports,
    factories,
    forgetting,
    frameworks,
    gradmode,
    initialization,
    iteration,
    loaders,
    losses,
    models,
    modes,
    optimizers,
    options,
    parameters,
    parts,
    penalty,
    tensors,
    unseen,
    wrappers,
)
from normadvisor.script.library.names import canonical
from normadvisor.script.library.registry import (
    ASSIGNMENTS,
    ATTRIBUTES,
    BUILT,
    CALLED,
    EXTERNS,
    ITERATIONS,
    METHODS,
    OPERATIONS,
    PREFIXES,
    SUBSCRIPTS,
)
from normadvisor.script.values import Arguments, Choice, Context, Data, Extern, Place, Ref, Value, choice, members

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["TorchLibrary"]

HANDLERS = (
    accumulation, backward, copies, dropout, exports, frameworks, initialization, loaders, losses, optimizers, options,
    penalty, tensors, wrappers,
)  # fmt: skip
"""Parts of the library that are only asked through the registries."""


class TorchLibrary:
    """What libraries do, for the interpreter (:class:`normadvisor.script.protocol.Library`)."""

    def call_extern(self, machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
        """Call of an external function or class by its dotted name."""
        if (named := classnames.name_method(name, arguments)) is not None:
            return named
        name = canonical(name)
        handler = EXTERNS.get(name)
        if handler is not None and (result := handler(machine, state, name, arguments, place)) is not None:
            return result
        for start in _starts(name):
            if (handler := PREFIXES.get(start)) is not None and (result := handler(machine, state, name, arguments, place)) is not None:
                return result
        built = factories.build_extern(machine, state, name, arguments, place)
        if built is not None and (thing := machine.thing(built)) is not None and thing.kind == "opaque":
            forgetting.forget_used(machine, state, name, arguments, place)
        if built is None:
            built = forgetting.harmless_call(machine, state, name, arguments, place)
        return built if built is not None else unseen.perhaps_model(machine, state, name, arguments, place)

    def build(self, machine: Machine, state: State, cls: ClassInfo, arguments: Arguments, place: Place) -> Value | None:
        """Construction of a project class whose bases reach an external class."""
        for handler in BUILT:
            if (result := handler(machine, state, cls, arguments, place)) is not None:
                return result
        return constructors.build_class(machine, state, cls, arguments, place)

    def call_object(self, machine: Machine, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:
        """Call of an object: ``model(x)``."""
        thing = machine.things.get(ref.address)
        if thing is None:
            return None
        for handler in CALLED.get(thing.kind, ()):
            if (result := handler(machine, state, ref, arguments, place)) is not None:
                return result
        return calls.call_model(machine, state, ref, arguments, place)

    def run_method(self, machine: Machine, state: State, ref: Ref, name: str, arguments: Arguments, place: Place) -> Value:
        """Call of a method of a project's model that does what ``forward`` does."""
        before = len(machine.events)
        result = calls.run_model(machine, state, machine.things[ref.address], arguments, place, name)
        for event in machine.events[before:]:
            event.attributes["model"] = str(event.attributes["model"]).removesuffix(f".{name}")
        return result

    def call_method(
        self, machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place
    ) -> Value | None:
        """Call of a method that the project does not define."""
        if isinstance(receiver, Choice):
            return self._on_each(machine, state, receiver, name, arguments, place)
        for handler in METHODS.get(name, []):
            if (result := handler(machine, state, receiver, name, arguments, place)) is not None:
                return result
        if isinstance(receiver, Data):
            forgetting.forget_given(machine, state, name, arguments, place)
        for handler in METHODS.get("*", []):
            if (result := handler(machine, state, receiver, name, arguments, place)) is not None:
                return result
        if isinstance(receiver, Extern):
            return self.call_extern(machine, state, f"{receiver.name}.{name}", arguments, place)
        return calls.call_other_method(machine, state, receiver, name, arguments, place)

    def _on_each(self, machine: Machine, state: State, receiver: Choice, name: str, arguments: Arguments, place: Place) -> Value | None:
        """A method of one of several values. Which of them it is, is not known: modes that change are unknown unless all agree."""
        before = dict(state.modes)
        results = [self.call_method(machine, state, member, name, arguments, place) for member in members(receiver)]
        if sum(models.as_model(machine, member) is not None for member in members(receiver)) > 1:
            modes.doubt_changes(state, before)
        found = [result for result in results if result is not None]
        return choice(found) if found else None

    def attribute(self, machine: Machine, state: State, receiver: Value, name: str, place: Place) -> Value | None:
        """An attribute that was not set by executed code."""
        if isinstance(receiver, Choice):
            found = [self.attribute(machine, state, member, name, place) for member in members(receiver)]
            return choice([value for value in found if value is not None]) if any(found) else None
        for handler in [*ATTRIBUTES.get(name, []), *ATTRIBUTES.get("*", [])]:
            if (result := handler(machine, state, receiver, name, place)) is not None:
                return result
        return parts.attribute_of(machine, state, receiver, name, place)

    def set_attribute(self, machine: Machine, state: State, receiver: Value, name: str, value: Value, place: Place) -> None:
        """Told of every assignment to an attribute, after it was stored."""
        for handler in ASSIGNMENTS:
            handler(machine, state, receiver, name, value, place)

    def subscript(self, machine: Machine, state: State, receiver: Value, key: Value, place: Place) -> Value | None:
        """``receiver[key]`` of something that is neither list, tuple nor dict."""
        for handler in (iteration.item_of_parts, *SUBSCRIPTS):
            if (result := handler(machine, state, receiver, key, place)) is not None:
                return result
        return parts.item_of(machine, state, receiver, key, place)

    def iterate(self, machine: Machine, state: State, value: Value, place: Place) -> tuple[list[Value], bool] | None:
        """Elements of an iteration, and whether these are all."""
        found = iteration.elements(machine, state, value, place)
        for handler in ITERATIONS if found is None else ():
            if (found := handler(machine, state, value, place)) is not None:
                break
        return found

    def operation(self, machine: Machine, state: State, operator: str, operands: list[Value], place: Place) -> Value | None:
        """Arithmetic, comparison or subscript of data."""
        for handler in (classnames.class_test, iteration.name_test, *OPERATIONS):
            if (result := handler(machine, state, operator, operands, place)) is not None:
                return result
        return None

    def is_instance(self, machine: Machine, state: State, value: Value, classes: list[Value]) -> bool | None:
        """``isinstance``; ``None`` if unknown."""
        return iteration.is_instance(machine, state, value, classes)

    def enter(self, machine: Machine, state: State, manager: Context, place: Place) -> Any:
        """``__enter__``."""
        return gradmode.enter(machine, state, manager, place)

    def leave(self, machine: Machine, state: State, manager: Context, token: Any) -> None:
        """``__exit__``."""
        gradmode.leave(machine, state, manager, token)

    def decorator(self, machine: Machine, state: State, value: Value, place: Place) -> Context | str | None:
        """What an external decorator does."""
        return gradmode.decorator(machine, state, value, place)

    def forget(self, machine: Machine, state: State, values: list[Value], place: Place) -> None:
        """Values reach code that cannot be seen."""
        forgetting.forget(machine, state, values, place)

    def parameter(self, machine: Machine, state: State, name: str, annotation: ast.expr | None, place: Place) -> Value:
        """A parameter of a function that nobody in the project calls."""
        return parameters.parameter(machine, state, name, annotation, place)

    def narrow(self, machine: Machine, state: State, test: ast.expr, value: Value, truth: bool) -> None:  # noqa: ARG002, FBT001 - the branch
        """A branch on a test over elements of ``modules()`` was entered."""
        iteration.narrow(machine, test, value, truth=truth)


def _starts(name: str) -> list[str]:
    """Beginnings of a dotted name, longest first, each with its dot."""
    found = []
    while "." in name:
        name = name.rpartition(".")[0]
        found.append(f"{name}.")
    return found
