"""How outputs of models flow through a script: what a value carries, and what its use says about the calls it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from normadvisor.script.values import NOTHING, Choice, Const, Data, Extern, Partial, Place, Ref, Tuple, Value, members

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = [
    "ABOUT", "PARAMETERS", "calls_in", "detached", "gathered", "integer", "keeping", "leaves", "made", "maker_of", "mark_backward",
    "mark_used", "number", "option", "plain_data", "resized", "rows_of",
]  # fmt: skip

_DETACHED = "detached:"
"""Prefix of an origin that names a model call whose output flowed in without its gradient: ``detached:12``."""
_CONTAINERS = frozenset({"list", "dict", "set"})
_DEFAULT = "default:"
"""Prefix of an origin that names the default of a command line option: ``default:64``."""
_ROWS = "rows:"
"""Prefix of an origin that tells how many samples a tensor holds: ``rows:100``."""


ABOUT = "about:"
"""Prefix of an origin that names a model whose parameters flowed in, beside those of others: ``about:12``."""
PARAMETERS = frozenset({"parameter", "parameters", "named_parameters"})
"""Origins of parameters of a model."""
_LAZY = {"filter": 1, "map": 1, "itertools.chain": 0, "enumerate": 0, "zip": 0}
"""Functions that go through their arguments, and which of these is the first."""


def leaves(machine: Machine, state: State, value: Value, depth: int = 4) -> Iterator[Value]:
    """Everything inside tuples, lists, dictionaries and alternatives."""
    for member in members(value):
        if isinstance(member, Tuple):
            for item in (*member.items, *([member.rest] if member.rest is not None else [])):
                yield from leaves(machine, state, item, depth)
        elif isinstance(member, Ref) and depth:
            thing = machine.things.get(member.address)
            if thing is None or thing.kind not in _CONTAINERS:
                yield member
                continue
            for item in state.fields_of(member.address).values():
                yield from leaves(machine, state, item, depth - 1)
        elif isinstance(member, Partial) and isinstance(member.function, Extern) and member.function.name in _LAZY and depth:
            for item in member.positional[_LAZY[member.function.name] :]:
                yield from leaves(machine, state, item, depth - 1)
        else:
            yield member


def gathered(machine: Machine, state: State, values: Iterable[Value], *, keep: bool = False) -> Data:
    """What the result of an operation on values carries: all calls and origins, and what it is about if that is one thing only.

    ``keep``: the operation leaves each element as it is, so an activation that all operands share survives.
    """
    calls: set[int] = set()
    origins: set[str] = set()
    about: set[Ref] = set()
    activations: dict[str | None, Place | None] = {}
    for value in values:
        # Nearly all values are plain data or constants: these need no search.
        for leaf in (value,) if isinstance(value, Data | Const) else leaves(machine, state, value):
            if isinstance(leaf, Data):
                calls |= leaf.calls
                origins |= leaf.origins
                if leaf.about is not None:
                    about.add(leaf.about)
                    if leaf.origins & PARAMETERS:
                        origins.add(f"{ABOUT}{leaf.about.address}")
                activations.setdefault(leaf.activation, leaf.activation_at)
    if not keep:
        origins = {origin for origin in origins if not origin.startswith((_DEFAULT, _ROWS))}
    if not (calls or origins or about or activations):
        return NOTHING
    activation, place = next(iter(activations.items())) if keep and len(activations) == 1 else (None, None)
    return Data(frozenset(calls), activation, place, frozenset(origins), about.pop() if len(about) == 1 else None)


def keeping(machine: Machine, state: State, value: Value) -> Data:
    """The same values in another form: moved, reshaped, copied, indexed."""
    if isinstance(value, Data):
        return value
    return gathered(machine, state, [value], keep=True)


def detached(data: Data) -> Data:
    """The same values without a gradient: remembers the calls for what the values are used for, but no backward pass reaches these."""
    if not data.calls:
        return data
    return replace(data, calls=frozenset(), origins=data.origins | {f"{_DETACHED}{call}" for call in data.calls})


def resized(data: Data) -> Data:
    """The same values, but not the same number of samples."""
    if data.about is None and not any(origin.startswith(_ROWS) for origin in data.origins):
        return data
    return replace(data, about=None, origins=frozenset(origin for origin in data.origins if not origin.startswith(_ROWS)))


def made(*origins: str, rows: Value | None = None) -> Data:
    """A tensor made out of nothing, with its first size if a literal says it."""
    first = rows.items[0] if isinstance(rows, Tuple) and rows.items else rows
    known = isinstance(first, Const) and type(first.value) is int
    return Data(origins=frozenset({*origins, f"{_ROWS}{first.value}"} if known else origins))  # type: ignore[union-attr]


def rows_of(data: Data) -> int | None:
    """Samples that a tensor holds, if a literal said so."""
    found = [origin[len(_ROWS) :] for origin in data.origins if origin.startswith(_ROWS)]
    return int(found[0]) if len(found) == 1 else None


def calls_in(data: Data, *, with_gradient: bool = False) -> frozenset[int]:
    """Numbers of the model calls that a value came from; ``with_gradient``: only those that a backward pass from it reaches."""
    if with_gradient:
        return data.calls
    return data.calls | {int(origin[len(_DETACHED) :]) for origin in data.origins if origin.startswith(_DETACHED)}


def _events(machine: Machine, numbers: frozenset[int]) -> Iterator[Event]:
    """Model calls by number, the latest first. One event may stand for several numbers on several paths, so all are looked at."""
    missing = set(numbers)
    for event in reversed(machine.events):
        if not missing:
            return
        if event.kind == "model_call" and event.attributes.get("number") in missing:
            missing.discard(event.attributes["number"])
            yield event


def mark_used(machine: Machine, state: State, values: Iterable[Value], how: str) -> None:
    """Note on the model calls behind values what these were used for: ``predicted``, ``measured``, ``output``."""
    for event in _events(machine, calls_in(gathered(machine, state, values))):
        event.attributes[f"_{how}"] = True


def mark_backward(machine: Machine, state: State, values: Iterable[Value], place: Place) -> Data:
    """Note on the model calls behind values that a backward pass reaches them, and remember their models until the next step."""
    data = gathered(machine, state, values)
    for event in _events(machine, data.calls):
        if event.attributes.get("grad") == "off":
            event.attributes["_feeds_backward"] = True
            continue
        event.attributes["_backward"] = True
        event.attributes["_backward_at"] = place
        address = event.attributes.get("_model")
        if isinstance(address, int):
            state.marks[(address, "backward")] = place
    # Pseudo-labels, targets of a teacher: the output counts for the training although no gradient reaches it.
    for event in _events(machine, calls_in(data) - data.calls):
        event.attributes["_feeds_backward"] = True
    return data


def maker_of(machine: Machine, data: Data) -> Event | None:
    """The last model call that a value went through."""
    numbers = calls_in(data)
    return next(_events(machine, frozenset({max(numbers)})), None) if numbers else None


def number(value: Value | None) -> tuple[float | None, bool]:
    """A number, and whether it is only the default of an option; ``None`` if it is not known."""
    if isinstance(value, Const):
        return (value.value, False) if isinstance(value.value, (int, float)) and not isinstance(value.value, bool) else (None, False)
    if isinstance(value, Data):
        defaults = [origin[len(_DEFAULT) :] for origin in value.origins if origin.startswith(_DEFAULT)]
        if len(defaults) == 1:
            try:
                return float(defaults[0]), True
            except ValueError:
                return None, False
    return None, False


def integer(value: Value | None) -> tuple[int | None, bool]:
    """A whole number, and whether it is only the default of an option; ``None`` if it is not known."""
    found, default = number(value)
    return (int(found), default) if found is not None and found == int(found) else (None, False)


def option(default: Any) -> Data:
    """The value of a command line option with a default: never used to decide a branch."""
    known = isinstance(default, (int, float)) and not isinstance(default, bool)
    return Data(origins=frozenset({"argument", f"{_DEFAULT}{default}"} if known else {"argument"}))


def plain_data(value: Value) -> bool:
    """Whether a value is data, or one of several data."""
    return isinstance(value, Data) or (isinstance(value, Choice) and all(isinstance(item, Data) for item in value.values))
