"""Python's own functions, and the methods of its lists, dictionaries and strings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from normadvisor.script.machine.attributes import SUPER, Attributes, is_through
from normadvisor.script.values import (
    COMPUTED_NAME,
    NOTHING,
    Arguments,
    Bound,
    Class,
    Const,
    Data,
    Extern,
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

__all__ = ["BUILTIN_FUNCTIONS", "CONTAINER_METHODS", "text_method"]

_Handler: TypeAlias = "Callable[[Attributes, State, Arguments, Place], Value | None]"
_ContainerHandler: TypeAlias = "Callable[[Attributes, State, Ref, Arguments, Place], Value | None]"


def _isinstance(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    if len(arguments.positional) != 2:
        return None
    value, classes = arguments.positional
    listed = list(classes.items) if isinstance(classes, Tuple) else [classes]
    if isinstance(value, Const):
        names = {one.name for one in listed if isinstance(one, Extern)}
        return Const(type(value.value).__name__ in names) if len(names) == len(listed) else NOTHING
    thing = machine.thing(value)
    if thing is not None and thing.kind in {"list", "dict", "set"}:
        names = {one.name for one in listed if isinstance(one, Extern)}
        return Const(thing.kind in names) if len(names) == len(listed) else NOTHING
    if isinstance(value, Tuple):
        return Const(any(isinstance(one, Extern) and one.name == "tuple" for one in listed))
    if thing is not None and thing.kind == "instance" and thing.cls is not None and all(isinstance(one, Class) for one in listed):
        return Const(any(isinstance(one, Class) and one.info in thing.cls.mro() for one in listed))
    result = machine.library.is_instance(machine, state, value, listed)  # type: ignore[arg-type]
    return NOTHING if result is None else Const(result)


def _getattr(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:
    name = arguments.get(1)
    if not isinstance(name, Const) or not isinstance(name.value, str):
        thing = machine.thing(arguments.positional[0]) if arguments.positional else None
        return Bound(arguments.positional[0], COMPUTED_NAME) if thing is not None and thing.kind == "module" else NOTHING
    return machine.attribute(state, arguments.positional[0], name.value, place)


def _setattr(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:
    if len(arguments.positional) == 3:
        owner, name, value = arguments.positional
        if isinstance(name, Const) and isinstance(name.value, str) and isinstance(owner, Ref):
            state.fields[owner.address, name.value] = value
            machine.library.set_attribute(machine, state, owner, name.value, value, place)
    return Const(None)


def _lazy(name: str) -> _Handler:
    """A function whose result is only ever iterated over."""

    def handler(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
        return Partial(Extern(name), arguments.positional) if arguments.positional or arguments.star is None else NOTHING

    return handler


def _through(name: str) -> _Handler:
    """A function that gives the elements of its argument again; a copy in a list of its own where they are few and known."""

    def handler(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:
        value = arguments.get(0, "iterable")
        if value is None:
            return machine.new_list(state, [], None, place) if name in {"list", "set"} else Tuple(()) if name == "tuple" else NOTHING
        if name not in {"list", "set", "tuple"}:
            return value
        if isinstance(value, Data):
            return value
        found, complete = machine.elements(state, value, place)
        if name == "tuple":
            return Tuple(tuple(found)) if complete else Tuple((), choice(found) if found else NOTHING)
        return machine.new_list(state, found if complete else [], None if complete or not found else choice(found), place)

    return handler


def _next(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:
    value = arguments.get(0)
    if value is None:
        return None
    found, _ = machine.elements(state, value, place)
    return choice(found) if found else NOTHING


def _dict(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:
    ref = machine.new(state, "dict", place, tag="items")
    for name, value in arguments.named:
        state.fields[ref.address, f"[{name!r}]"] = value
    source = machine.thing(arguments.positional[0]) if arguments.positional else None
    if source is not None and source.kind == "dict":
        for name, value in state.fields_of(source.address).items():
            state.fields.setdefault((ref.address, name), value)
    elif arguments.positional:
        _set_pairs(machine, state, ref, arguments.positional[0], place)
    return ref


def _set_pairs(machine: Attributes, state: State, ref: Ref, pairs: Value, place: Place) -> None:
    """``dict(pairs)``: entries as far as these are known."""
    found, complete = machine.elements(state, pairs, place)
    for pair in found:
        if not isinstance(pair, Tuple) or len(pair.items) != 2 or pair.rest is not None:
            complete = False
        elif isinstance(pair.items[0], Const):
            key = pair.items[0].value
            state.fields[ref.address, f"[{key!r}]" if isinstance(key, str) else f"[{key}]"] = pair.items[1]
        else:
            known = state.get_field(ref.address, "[*]")
            state.fields[ref.address, "[*]"] = pair.items[1] if known is None else choice((known, pair.items[1]))
    if not complete:
        known = state.get_field(ref.address, "[*]")
        state.fields[ref.address, "[*]"] = NOTHING if known is None else choice((known, NOTHING))


def _super(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    if len(arguments.positional) == 2:
        owner, itself = arguments.positional
        return Partial(Extern(SUPER), (itself, owner))
    return None


def _partial(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    if not arguments.positional:
        return None
    return Partial(arguments.positional[0], arguments.positional[1:], arguments.named)


def _range(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    return Data(origins=frozenset({"range"}))


def _wraps(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    return Extern("functools.wraps()")


def _same(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    return arguments.get(0)


def _bool(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    value = arguments.get(0)
    return Const(bool(value.value)) if isinstance(value, Const) else None


def _text(machine: Attributes, state: State, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    value = arguments.get(0)
    return value if isinstance(value, Const) and isinstance(value.value, str) else None


BUILTIN_FUNCTIONS: dict[str, _Handler] = {
    "isinstance": _isinstance,
    "getattr": _getattr,
    "setattr": _setattr,
    "next": _next,
    "dict": _dict,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda machine, state, arguments, place: machine.new(state, "dict", place, tag="items"),  # noqa: ARG005
    "super": _super,
    "functools.partial": _partial,
    "range": _range,
    "tqdm.trange": _range,
    "tqdm.auto.trange": _range,
    "tqdm.notebook.trange": _range,
    "functools.wraps": _wraps,
    "functools.wraps()": _same,
    "typing.cast": lambda machine, state, arguments, place: arguments.get(1, "val"),  # noqa: ARG005
    "bool": _bool,
    "str": _text,
    **{
        name: _lazy(name)
        for name in ("enumerate", "zip", "map", "filter", "itertools.chain", "itertools.product", "itertools.zip_longest")
    },
    **{
        name: _through(name)
        for name in (
            "iter", "reversed", "sorted", "list", "tuple", "set", "itertools.islice", "itertools.cycle",
            "tqdm.tqdm", "tqdm.auto.tqdm", "tqdm.notebook.tqdm", "tqdm.std.tqdm", "tqdm.autonotebook.tqdm", "tqdm.tqdm_notebook",
            "rich.progress.track", "alive_progress.alive_it", "fastprogress.progress_bar", "fastprogress.master_bar",
            "fastprogress.fastprogress.progress_bar", "accelerate.skip_first_batches", "progressbar.progressbar",
        )
        if is_through(name)
    },
}  # fmt: skip


def _append(machine: Attributes, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    if not arguments.positional:
        return Const(None)
    value = arguments.positional[-1]
    fields = state.fields_of(ref.address)
    count = sum(name.startswith("[") for name in fields)
    if isinstance(value, Data) or "[*]" in fields or count >= _MOST_ITEMS:
        known = fields.get("[*]")
        state.fields[ref.address, "[*]"] = value if known is None else choice((known, value))
    elif value not in fields.values():  # the same object again, in the next turn of a loop
        state.fields[ref.address, f"[{count}]"] = value
    return Const(None)


_MOST_ITEMS = 12


def _extend(machine: Attributes, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:
    value = arguments.get(0)
    for item in machine.elements(state, value, place)[0] if value is not None else ():
        _append(machine, state, ref, Arguments((item,)), place)
    return Const(None)


def _items(machine: Attributes, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    if machine.things[ref.address].kind != "dict":
        return None
    pairs: list[Value] = []
    rest: Value | None = None
    for name, value in state.fields_of(ref.address).items():
        if name == "[*]":
            rest = Tuple((NOTHING, value))
        elif name.startswith("["):
            pairs.append(Tuple((Const(name[2:-2]) if name.startswith("['") else NOTHING, value)))
    return Tuple(tuple(pairs), rest)


def _values(machine: Attributes, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    if machine.things[ref.address].kind != "dict":
        return None
    fields = {name: value for name, value in state.fields_of(ref.address).items() if name.startswith("[")}
    return Tuple(tuple(value for name, value in fields.items() if name != "[*]"), fields.get("[*]"))


def _keys(machine: Attributes, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    found, complete = machine.elements(state, ref, place)
    return Tuple(tuple(found)) if complete else Tuple((), NOTHING)


def _get(machine: Attributes, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    key = arguments.get(0)
    found = machine.get_item(state, ref, key) if key is not None else None
    default = arguments.get(1)
    return found if found is not None else default if default is not None else NOTHING


def _update(machine: Attributes, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    for name, value in arguments.named:
        state.fields[ref.address, f"[{name!r}]"] = value
    source = machine.thing(arguments.positional[0]) if arguments.positional else None
    if source is not None and source.kind == "dict":
        for name, value in state.fields_of(source.address).items():
            if name.startswith("["):
                state.fields[ref.address, name] = value
    return Const(None)


def _pop(machine: Attributes, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    key = arguments.get(0)
    found = machine.get_item(state, ref, key if key is not None else Const(-1))
    return found if found is not None else NOTHING


def _copy(machine: Attributes, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    made = machine.new(state, machine.things[ref.address].kind, place, tag="copy")
    for name, value in state.fields_of(ref.address).items():
        state.fields[made.address, name] = value
    return made


CONTAINER_METHODS: dict[str, _ContainerHandler] = {
    "append": _append,
    "add": _append,
    "insert": _append,
    "appendleft": _append,
    "extend": _extend,
    "items": _items,
    "values": _values,
    "keys": _keys,
    "get": _get,
    "setdefault": _get,
    "update": _update,
    "pop": _pop,
    "copy": _copy,
}

_TEXT_METHODS = frozenset({"lower", "upper", "strip", "startswith", "endswith", "replace", "title", "capitalize", "lstrip", "rstrip"})


def text_method(text: str, name: str, arguments: Arguments) -> Value:
    """A method of a string literal, where its result is sure."""
    given = [value.value for value in arguments.positional if isinstance(value, Const)]
    if name in _TEXT_METHODS and len(given) == len(arguments.positional) and not arguments.named and arguments.complete:
        try:
            return Const(getattr(text, name)(*given))
        except TypeError:
            return NOTHING
    return merged_data(arguments.values())
