"""The words of configuration errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normadvisor.config.suggest import did_you_mean, quoted_list
from normadvisor.errors import ConfigError

if TYPE_CHECKING:
    from normadvisor.types import Location

__all__ = ["mistake_error", "one_line", "value_text"]

_KINDS = {
    "string_type": "text in quotes",
    "list_type": "a list",
    "dict_type": "a table",
    "dataclass_type": "a table",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}


def mistake_error(loc: tuple[str | int, ...], kind: str, parameters: dict[str, Any], place: Location) -> ConfigError:
    """A mistake found by :func:`normadvisor.config.schema.mistakes`, in our words."""
    name = _dotted(loc)
    if kind == "literal_error":
        # pydantic writes the choices as 'a', 'b' or 'c'.
        choices = [word.strip("'") for word in parameters["expected"].replace(" or ", ", ").split(", ")]
        value = parameters["input"]
        hint = did_you_mean(value, choices) if isinstance(value, str) else f"one of {quoted_list(choices)}"
        return ConfigError(f"'{name}' cannot be {value_text(value)}", location=place, hint=hint)
    if kind == "missing":
        return ConfigError(f"'{name}' is missing", location=place, hint=f"add {loc[-1]} = ...")
    if kind in _KINDS:
        brackets = "write [[tool.normadvisor.models]], with two brackets" if loc == ("models",) else None
        return ConfigError(f"'{name}' must be {_KINDS[kind]}, not {value_text(parameters['input'])}", location=place, hint=brackets)
    if kind in {"too_short", "string_too_short"}:
        return ConfigError(f"'{name}' is empty", location=place, hint="leave it out for the default")
    if kind == "greater_than":
        return ConfigError(f"'{name}' must be greater than {parameters['gt']:g}, not {value_text(parameters['input'])}", location=place)
    if kind == "greater_than_equal":
        return ConfigError(f"'{name}' must be at least {parameters['ge']:g}, not {value_text(parameters['input'])}", location=place)
    if kind == "less_than_equal":
        return ConfigError(f"'{name}' must be at most {parameters['le']:g}, not {value_text(parameters['input'])}", location=place)
    return ConfigError(f"'{name}' is wrong: {parameters['message']}", location=place)


def _dotted(loc: tuple[str | int, ...]) -> str:
    """``models[0].target``."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{one_line(part)}"
    return text.lstrip(".")


def one_line(word: str) -> str:
    """A key as an error shows it: on one line, not too long."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in word)
    return plain if len(plain) <= 60 else f"{plain[:57]}..."


def value_text(value: Any) -> str:
    """A value as an error shows it."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 64:
        # Python refuses to print very long numbers.
        return f"a number with {value.bit_length()} bits"
    return one_line(repr(value) if isinstance(value, str | int | float) else str(value))
