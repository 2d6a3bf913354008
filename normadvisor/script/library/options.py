"""Command line options: their defaults, kept as a hint beside a value that nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normadvisor.script.library.flow import number, option
from normadvisor.script.library.registry import attribute, extern, method
from normadvisor.script.values import NOTHING, Arguments, Const, Place, Ref, Thing, Tuple, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["add_argument", "options_of", "parse"]

_PARSER = "argparse.ArgumentParser"
_NAMESPACE = "argparse.Namespace"
_PARSERS = (_PARSER, "configargparse.ArgumentParser", "configargparse.ArgParser", "jsonargparse.ArgumentParser")


@extern(*_PARSERS)
def parser(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``argparse.ArgumentParser()``."""
    ref = machine.new(state, "other", place, name=name.rpartition(".")[2], extern=_PARSER, arguments=arguments)
    machine.things[ref.address].facts.setdefault("defaults", {})
    return ref


def _parser(machine: Machine, value: Value) -> Thing | None:
    thing = machine.thing(value)
    return thing if thing is not None and thing.extern == _PARSER else None


@method("add_argument")
def add_argument(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``parser.add_argument('--batch-size', type=int, default=64)``."""
    del state, name, place
    thing = _parser(machine, receiver)
    if thing is None:
        return None
    flags = [item.value for item in arguments.positional if isinstance(item, Const) and isinstance(item.value, str)]
    given = arguments.get(None, "dest")
    long = next((flag for flag in flags if flag.startswith("--")), flags[0] if flags else None)
    target = given.value if isinstance(given, Const) else long
    if isinstance(target, str):
        default = arguments.get(None, "default")
        thing.facts["defaults"][target.lstrip("-").replace("-", "_")] = _literal(default)
    return NOTHING


def _literal(value: Value | None) -> Any:
    if isinstance(value, Const):
        return value.value
    return number(value)[0]


@method("set_defaults")
def set_defaults(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``parser.set_defaults(lr=0.1)``."""
    del state, name, place
    thing = _parser(machine, receiver)
    if thing is None:
        return None
    thing.facts["defaults"].update((key, _literal(value)) for key, value in arguments.named)
    return NOTHING


@method("add_argument_group", "add_mutually_exclusive_group", "add_subparsers", "add_parser")
def group(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Groups and commands add to the options of their parser."""
    del state, name, arguments, place
    return receiver if _parser(machine, receiver) is not None else None


@method("parse_args", "parse_known_args", "parse_intermixed_args")
def parse(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``args = parser.parse_args()``."""
    thing = _parser(machine, receiver)
    if thing is None:
        return None
    ref = machine.new(state, "other", place, name="Namespace", extern=_NAMESPACE, arguments=arguments)
    machine.things[ref.address].facts["defaults"] = thing.facts["defaults"]
    return Tuple((ref, NOTHING)) if name == "parse_known_args" else ref


def options_of(machine: Machine, value: Value) -> dict[str, Any] | None:
    """Defaults of the options behind ``args``; ``None`` for anything else."""
    thing = machine.thing(value)
    if thing is None or thing.extern != _NAMESPACE:
        return None
    found: dict[str, Any] = thing.facts.get("defaults", {})
    return found


@attribute("*")
def option_value(machine: Machine, state: State, receiver: Value, name: str, place: Place) -> Value | None:
    """``args.batch_size``: unknown, with its default as a hint."""
    del state, place
    defaults = options_of(machine, receiver)
    return option(defaults.get(name)) if defaults is not None else None


@extern("vars")
def as_dictionary(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``vars(args)``: the same options."""
    del state, name, place
    given = arguments.get(0)
    return given if isinstance(given, Ref) and options_of(machine, given) is not None else None
