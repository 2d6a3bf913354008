"""The two halves of the analysis, as each sees the other: the machine that executes Python, the library that knows torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from normadvisor.script.values import Arguments, Context, Function, Place, Ref, Thing, Value

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.project.modules import Project, SourceModule
    from normadvisor.script.state import State

__all__ = ["Library", "Machine"]


class Machine(Protocol):
    """What the library may ask of the interpreter."""

    project: Project
    things: dict[int, Thing]
    """Every object, by address."""
    events: list[Event]
    """Everything recorded so far, on all paths; attributes may still be filled in (purpose)."""

    def thing(self, value: Value) -> Thing | None:
        """The object behind a reference; ``None`` for anything else."""

    def new(  # noqa: PLR0913 - what may be known of an object
        self,
        state: State,
        kind: str,
        place: Place,
        *,
        name: str = "",
        extern: str = "",
        cls: ClassInfo | None = None,
        parent: tuple[int, str] | None = None,
        arguments: Arguments | None = None,
        tag: str = "",
    ) -> Ref:
        """An object built at a place. The same place on the same call path (and ``tag``) has the same address."""

    def record(self, kind: str, place: Place, **attributes: Any) -> Event:
        """Note an event. The number of a ``model_call`` is ``event.attributes['number']``: put it into ``Data.calls`` of the result."""

    def call(self, state: State, function: Value, arguments: Arguments, place: Place) -> Iterator[tuple[State, Value]]:
        """Call anything callable, inlining functions of the project."""

    def run(self, state: State, function: Value, arguments: Arguments, place: Place) -> Value:
        """Call it and merge all outcomes into ``state``; for callbacks such as ``model.apply(fn)``."""

    def attribute(self, state: State, value: Value, name: str, place: Place) -> Value:
        """``value.name``."""

    def enclosing(self) -> Function | None:
        """The project function being executed; ``None`` at the top level of a module."""

    def stack(self) -> tuple[Function, ...]:
        """All functions being executed, innermost first."""

    def loops(self) -> tuple[ast.stmt, ...]:
        """Loops being executed in the current function, innermost first."""

    def source_of(self, node: ast.AST, module: SourceModule | None = None) -> str:
        """Text of a node of the module being executed (or of another)."""


class Library(Protocol):
    """What a library does, for the interpreter. Methods change the given state in place; ``None`` means: not mine.

    The machine first resolves names and functions of the project; what remains comes here.
    """

    def call_extern(self, machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
        """Call of an external function or class, by its full dotted name, re-exports resolved: ``torch.nn.functional.softmax``."""

    def build(self, machine: Machine, state: State, cls: ClassInfo, arguments: Arguments, place: Place) -> Value | None:
        """Construction of a project class whose bases reach an external class (nn.Module: its ``__init__`` is not executed).

        ``None`` for a class that has no say in modes: the machine makes an ``instance`` and executes its ``__init__``.
        """

    def call_object(self, machine: Machine, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:
        """Call of an object that is not a project instance with ``__call__``: ``model(x)``, ``criterion(output, target)``."""

    def run_method(self, machine: Machine, state: State, ref: Ref, name: str, arguments: Arguments, place: Place) -> Value:
        """Call of a method of a project's model that does what ``forward`` does: ``net.embed(x)``."""

    def call_method(
        self, machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place
    ) -> Value | None:
        """Call of a method that the project does not define: ``model.eval()``, ``loss.backward()``, ``optimizer.step()``."""

    def attribute(self, machine: Machine, state: State, receiver: Value, name: str, place: Place) -> Value | None:
        """An attribute that was not set by executed code: ``model.module``, ``model.backbone``, ``model.training``, ``loss.data``."""

    def set_attribute(self, machine: Machine, state: State, receiver: Value, name: str, value: Value, place: Place) -> None:
        """Told of every assignment to an attribute, after it was stored: ``model.fc = ...``, ``m.training = False``."""

    def subscript(self, machine: Machine, state: State, receiver: Value, key: Value, place: Place) -> Value | None:
        """``receiver[key]`` of something that is neither list, tuple nor dict."""

    def iterate(self, machine: Machine, state: State, value: Value, place: Place) -> tuple[list[Value], bool] | None:
        """Elements of an iteration: each known one, and whether these are all; ``([element], False)`` for any number like ``element``."""

    def operation(self, machine: Machine, state: State, operator: str, operands: list[Value], place: Place) -> Value | None:
        """Arithmetic, comparison or subscript of data: ``/``, ``==`` ... (``loss / 4``)."""

    def is_instance(self, machine: Machine, state: State, value: Value, classes: list[Value]) -> bool | None:
        """``isinstance``; ``None`` if unknown."""

    def enter(self, machine: Machine, state: State, manager: Context, place: Place) -> Any:
        """``__enter__``; what it returns is given to :meth:`leave`."""

    def leave(self, machine: Machine, state: State, manager: Context, token: Any) -> None:
        """``__exit__``."""

    def decorator(self, machine: Machine, state: State, value: Value, place: Place) -> Context | str | None:
        """What an external decorator does: a context around every call, or a kind of :class:`Function`; ``None`` if it does not matter."""

    def forget(self, machine: Machine, state: State, values: list[Value], place: Place) -> None:
        """Values reach code that cannot be seen: modes of models among them become unknown unless that code is known to be harmless."""

    def parameter(self, machine: Machine, state: State, name: str, annotation: ast.expr | None, place: Place) -> Value:
        """A parameter of a function that nobody in the project calls."""

    def narrow(self, machine: Machine, state: State, test: ast.expr, value: Value, truth: bool) -> None:  # noqa: FBT001 - the branch
        """A branch on an ``isinstance`` or type test over elements of ``modules()`` was entered: ``m`` is now a BatchNorm (or is not)."""
