"""What the parts of the interpreter share: frames, objects, events, places and the budget."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from normadvisor.script.events import Event
from normadvisor.script.values import (
    NOTHING,
    Arguments,
    Bound,
    Choice,
    Context,
    Data,
    Function,
    Partial,
    Place,
    Ref,
    Thing,
    Tuple,
    Value,
    choice,
)

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.project.modules import Project, SourceModule
    from normadvisor.script.protocol import Library
    from normadvisor.script.state import State
    from normadvisor.types import Location

__all__ = ["BudgetError", "Core", "Defined", "Flow", "Frame", "Outcomes"]

Defined: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
"""Nodes that define a function."""
Outcomes = list[tuple["State", Value]]
"""How an evaluation may end: one state and value for each path."""
MOST_STEPS = 80_000
"""Statements and expressions executed for one root before its analysis is given up."""
STEPS_WITH_CALLS = 20_000
"""Statements and expressions executed for one root while calls are still followed, at most."""
SHARE = 4
"""One root may use a fourth of what is left for the file, so that a file takes bounded time however many roots it has."""
STEPS_OF_FILE = 80_000
"""Statements and expressions executed for one file while calls are still followed."""


class BudgetError(Exception):
    """A root took too many steps."""


@dataclass(slots=True)
class Flow:
    """How a block may end, each with the states in which it does."""

    normal: list[State] = field(default_factory=list)
    returns: Outcomes = field(default_factory=list)
    breaks: list[State] = field(default_factory=list)
    continues: list[State] = field(default_factory=list)
    raises: list[State] = field(default_factory=list)

    def add(self, other: Flow) -> None:
        """Add what ends other than normally."""
        self.returns += other.returns
        self.breaks += other.breaks
        self.continues += other.continues
        self.raises += other.raises


@dataclass(slots=True)
class Frame:
    """A function, or the body of a module, being executed."""

    module: SourceModule
    environment: int
    function: Function | None = None
    owner: ClassInfo | None = None
    receiver: Value | None = None
    """``self``."""
    callers: tuple[Location, ...] = ()
    loops: list[ast.stmt] = field(default_factory=list)
    statements: list[ast.stmt] = field(default_factory=list)
    global_names: set[str] = field(default_factory=set)
    outer_names: dict[str, int] = field(default_factory=dict)
    """Names declared ``nonlocal``, with the environment that binds them."""
    places: dict[int, Place] | None = None
    """Places of nodes that were asked for, here and in other executions on the same call path."""
    on_yield: Callable[[State, Value], list[State]] | None = None
    """Of a context manager function: runs the body of the ``with`` statement."""
    yielded: list[Value] = field(default_factory=list)
    """What a generator function yields."""


class Core:
    """Objects, events and places."""

    def __init__(self, project: Project, library: Library) -> None:
        self.project = project
        self.library = library
        self.things: dict[int, Thing] = {}
        self.events: list[Event] = []
        self.frames: list[Frame] = []
        self.main: SourceModule | None = None
        """The file that is analysed; the others are imported."""
        self.reached: set[ast.AST] = set()
        """Function nodes that were executed."""
        self.steps = 0
        self.steps_with_calls = STEPS_WITH_CALLS
        self._left = STEPS_OF_FILE
        self.transparent: set[Value] = set()
        """Decorators that returned what they were given."""
        self._addresses: dict[object, int] = {}
        self._next = 1
        self._places: dict[tuple[Location, ...], dict[int, Place]] = {}
        self._statements: dict[int, Location] = {}
        self._numbers = 0
        self._parents: dict[int, int | None] = {}
        self._modules_of: dict[int, SourceModule] = {}
        self._module_environments: dict[int, int] = {}
        self._functions: dict[tuple[int, int | None], Function] = {}
        self._segments: dict[int, str] = {}

    # --- what the library asks

    @property
    def frame(self) -> Frame:
        """The innermost frame."""
        return self.frames[-1]

    def thing(self, value: Value) -> Thing | None:
        """The object behind a reference; ``None`` for anything else."""
        return self.things.get(value.address) if isinstance(value, Ref) else None

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
        """An object built at a place; the same place on the same call path (and ``tag``) has the same address."""
        # Places on the same line of code in different calls are different objects.
        key = (kind, place.location, place.callers, tag, parent)
        address = self._addresses.get(key)
        if address is None:
            address = self.fresh_address()
            self._addresses[key] = address
        else:
            state.fields.drop(address)
            for mark in [entry for entry in state.marks if entry[0] == address]:
                del state.marks[mark]
            state.modes.pop(address, None)
        known = self.things.get(address)
        if known is None or (known.cls, known.extern, known.arguments) != (cls, extern, arguments):
            self.things[address] = Thing(address, kind, place, name, cls, extern, parent, arguments)
        return Ref(address)

    def fresh_address(self) -> int:
        """A number for an object or an environment."""
        self._next += 1
        return self._next

    def record(self, kind: str, place: Place, **attributes: Any) -> Event:
        """Note an event."""
        self._numbers += 1
        event = Event(kind, place.location, {"number": self._numbers, **attributes}, {}, place.text, place.statement)
        event.attributes["_place"] = place
        self.events.append(event)
        return event

    def enclosing(self) -> Function | None:
        """The project function being executed."""
        return self.frame.function if self.frames else None

    def stack(self) -> tuple[Function, ...]:
        """All functions being executed, innermost first."""
        return tuple(frame.function for frame in reversed(self.frames) if frame.function is not None)

    def loops(self) -> tuple[ast.stmt, ...]:
        """Loops being executed in the current function, innermost first."""
        return tuple(reversed(self.frame.loops))

    def source_of(self, node: ast.AST, module: SourceModule | None = None) -> str:
        """Text of a node."""
        if module is not None:
            return module.segment(node)
        text = self._segments.get(id(node))
        if text is None:
            text = self._segments[id(node)] = self.frame.module.segment(node)
        return text

    # --- places and steps

    def place(self, node: ast.AST) -> Place:
        """Where a node of the current frame stands."""
        frame = self.frames[-1]
        places = frame.places
        if places is None:
            places = frame.places = self._places.setdefault(frame.callers, {})
        place = places.get(id(node))
        if place is None:
            function = frame.function.qualname if frame.function is not None else "<module>"
            module = frame.module
            place = Place(
                module.location(node), function, frame.callers, self._statement_location(frame), self.source_of(node),
            )  # fmt: skip
            places[id(node)] = place
        return place

    def _statement_location(self, frame: Frame) -> Location | None:
        """Where the statement that is being executed stands."""
        if not frame.statements:
            return None
        statement = frame.statements[-1]
        location = self._statements.get(id(statement))
        if location is None:
            location = self._statements[id(statement)] = frame.module.location(statement)
        return location

    def new_budget(self) -> None:
        """Begin a root: its steps are counted anew, and what the last one took is gone."""
        self._left -= self.steps
        self.steps = 0
        self.steps_with_calls = max(min(STEPS_WITH_CALLS, self._left // SHARE), 500)

    def step(self) -> None:
        """Count one step.

        Raises:
            BudgetError: it was one too many.

        """
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise BudgetError

    # --- implemented by the parts

    def evaluate(self, node: ast.expr, state: State) -> Value:
        """The value of an expression; what it does to the state is done in place, several ends are joined."""
        raise NotImplementedError

    def outcomes(self, node: ast.expr, state: State) -> Outcomes:
        """The value of an expression, one for each path that a call in it may take."""
        raise NotImplementedError

    def execute(self, body: list[ast.stmt], states: list[State]) -> Flow:
        """Execute a block."""
        raise NotImplementedError

    def invoke(self, state: State, function: Value, arguments: Arguments, place: Place) -> Outcomes:
        """Call a value."""
        raise NotImplementedError

    def invoke_method(self, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Outcomes:
        """Call a method."""
        raise NotImplementedError

    def attribute(self, state: State, value: Value, name: str, place: Place) -> Value:
        """``value.name``."""
        raise NotImplementedError

    def elements(self, state: State, value: Value, place: Place) -> tuple[list[Value], bool]:
        """Elements of an iteration, and whether these are all."""
        raise NotImplementedError

    def assign(self, target: ast.expr, value: Value, state: State) -> None:
        """Bind a target."""
        raise NotImplementedError

    def branch(self, test: ast.expr, state: State) -> list[tuple[State, bool]]:
        """Decide a condition, on one path or on two."""
        raise NotImplementedError

    def call(self, state: State, function: Value, arguments: Arguments, place: Place) -> Iterator[tuple[State, Value]]:
        """Call anything callable."""
        yield from self.invoke(state, function, arguments, place)

    def run(self, state: State, function: Value, arguments: Arguments, place: Place) -> Value:
        """Call it and merge all outcomes into ``state``."""
        return self.merged(state, self.invoke(state, function, arguments, place))

    def merged(self, state: State, outcomes: Outcomes) -> Value:
        """Join all outcomes into ``state``; their values become alternatives."""
        if not outcomes:
            return NOTHING
        joined = outcomes[0][0]
        for other, _ in outcomes[1:]:
            joined = joined.join(other)
        if joined is not state:
            become(state, joined)
        return choice([value for _, value in outcomes]) if len(outcomes) > 1 else outcomes[0][1]


"""An option that says whether to switch into eval mode."""


def become(state: State, other: State) -> None:
    """Make a state the same as another."""
    for name in ("names", "own", "fields", "modes", "marks", "grad", "no_grad", "leaving", "assumptions"):
        setattr(state, name, getattr(other, name))


def addresses(value: Value) -> list[int]:
    """Addresses that a value leads to directly."""
    if isinstance(value, Ref):
        return [value.address]
    if isinstance(value, Data):
        return [value.about.address] if value.about is not None else []
    if isinstance(value, Tuple):
        return [address for item in (*value.items, *([value.rest] if value.rest is not None else [])) for address in addresses(item)]
    if isinstance(value, Choice):
        return [address for item in value.values for address in addresses(item)]
    if isinstance(value, Bound):
        return addresses(value.receiver)
    if isinstance(value, Partial):
        return [address for item in (value.function, *value.positional, *(item for _, item in value.named)) for address in addresses(item)]
    if isinstance(value, Function):
        return [address for item in value.defaults.values() for address in addresses(item)]
    return addresses(value.value) if isinstance(value, Context) else []
