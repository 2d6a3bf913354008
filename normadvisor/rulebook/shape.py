"""From plain data to a :class:`~normadvisor.rulebook.model.Rule`, with errors in the words of a rule's author."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from normadvisor.errors import RuleError
from normadvisor.rulebook.construct import IrregularError, construct
from normadvisor.rulebook.model import (
    Adjustment,
    Chain,
    Change,
    Clause,
    Definitions,
    Example,
    Examples,
    FixTemplate,
    MeasuredSide,
    ModulePattern,
    Pattern,
    ProbePattern,
    Reference,
    Relation,
    Rule,
    ScriptSide,
)
from normadvisor.rulebook.yamlfile import Document, KeyPath
from normadvisor.types.words import nearest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["SHORTHANDS", "normalise", "rule_adapter", "shape_rule"]

SHORTHANDS = frozenset({
    "alternatives", "any_of", "broken_by", "change", "exempt", "expect", "explained_by", "follows", "inputs", "op", "precedes", "related",
    "silenced_by", "through", "until", "without",
})  # fmt: skip
"""Keys whose list of one may be written as its only member."""

_FREE = frozenset({"arguments", "context", "evidence", "probe", "values"})
"""Mappings whose keys the author chooses."""

_PATTERNS = {kind.__name__ for kind in (Pattern, ModulePattern, ProbePattern)}

_CLASSES: dict[str, type[Any]] = {
    "adjust": Adjustment, "alternatives": FixTemplate, "any_of": Clause, "bad": Example, "chain": Chain, "change": Change,
    "define": Definitions, "examples": Examples, "fix": FixTemplate, "fixed": Example, "follows": Relation,
    "good": Example, "measured": MeasuredSide, "precedes": Relation, "references": Reference, "script": ScriptSide, "without": Clause,
}  # fmt: skip
"""What the key of a mapping says about its class."""


@cache
def rule_adapter() -> TypeAdapter[Rule]:
    """The validator of rules; built on first use, since importing pydantic takes longer than reading every rule."""
    from pydantic import TypeAdapter  # noqa: PLC0415  # as above

    return TypeAdapter(Rule)


def normalise(data: Any, key: str = "") -> Any:
    """The data with every shorthand written out: a list where a list of one may be left out, line numbers as strings."""
    if key in _FREE:
        return data
    if isinstance(data, dict):
        if key == "ops":
            return {name: [members] if isinstance(members, str) else members for name, members in data.items()}
        return {name: _written_out(normalise(value, "" if key == "patterns" else name), name) for name, value in data.items()}
    if isinstance(data, list):
        return [normalise(item, key) for item in data]
    return data


def _written_out(value: Any, key: str) -> Any:
    if key not in SHORTHANDS:
        return value
    values = value if isinstance(value, list) or value is None else [value]
    if key == "expect" and values is not None:
        return [str(item) if type(item) is int else item for item in values]
    return values


def shape_rule(document: Document) -> Rule | list[RuleError]:
    """The rule of a document, or everything that is wrong with its shape."""
    data = document.data
    if data is None:
        return [RuleError("the file is empty", location=document.locate(()), hint="'normadvisor rule new' writes a rule to start from")]
    if not isinstance(data, dict):
        found = "a list" if isinstance(data, list) else "a single value"
        return [RuleError(f"a rule is a mapping, this is {found}", location=document.locate(()), hint="one rule per file, 'id: ...' first")]
    written = normalise(data)
    if "source" in written:
        return [_unknown_key(document, ("source",), data)]
    try:
        return construct(Rule, written)
    except IrregularError:
        return _explained(document, written)


def _explained(document: Document, written: dict[str, Any]) -> Rule | list[RuleError]:
    """What pydantic makes of data that is not exactly a rule: a rule after conversions, or reasons."""
    from pydantic import ValidationError  # noqa: PLC0415  # as in rule_adapter

    try:
        return rule_adapter().validate_python(written)
    except ValidationError as error:
        return _errors(document, written, error.errors(include_url=False))


def _errors(document: Document, data: dict[str, Any], found: list[Any]) -> list[RuleError]:
    """Errors in the order of the file, one per place; errors of the alternative that was not meant are left out."""
    meant = _pattern_class(data.get("pattern"), data).__name__
    errors: dict[tuple[KeyPath, str], RuleError] = {}
    for detail in found:
        loc = detail["loc"]
        if loc[:1] == ("pattern",) and len(loc) > 1 and loc[1] in _PATTERNS - {meant}:
            continue
        path, rest = _path(data, loc)
        if "str" in rest:
            # A single name has become a list of one, so the other alternative, a string, is not what was meant.
            continue
        if detail["type"] == "unexpected_keyword_argument":
            errors[path, "key"] = _unknown_key(document, path, data)
        elif detail["type"] == "missing":
            key = str(rest[-1]) if rest else str(loc[-1])
            errors[path, key] = RuleError(f"'{key}' is missing", location=document.locate(path), hint=_near_missing(data, path, key))
        else:
            errors.setdefault((path, ""), _value_error(document, path, detail))
    return sorted(errors.values(), key=lambda error: (error.location.line, error.location.column) if error.location else (0, 0))


def _pattern_class(pattern: Any, rule: Any) -> type[Any]:
    """Which kind of pattern was meant: by the name it gives, then by the scope of the rule."""
    keys = pattern if isinstance(pattern, dict) else {}
    if "node" in keys:
        return Pattern
    if "module" in keys:
        return ModulePattern
    return ProbePattern if "layer" in keys or (isinstance(rule, dict) and rule.get("scope") == "probe") else Pattern


def _path(data: Any, loc: tuple[str | int, ...]) -> tuple[KeyPath, list[str | int]]:
    """The keys and positions among pydantic's location, which also names classes; and what follows the last of them."""
    path: list[str | int] = []
    rest: list[str | int] = []
    for part in loc:
        inside = isinstance(data, dict) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data = data[part]
            path.append(part)
            rest = []
        else:
            rest.append(part)
    return tuple(path), rest


def _class_at(path: KeyPath, data: Any) -> type[Any]:
    """The dataclass of the mapping at ``path``."""
    names = [part for part in path if isinstance(part, str)]
    if not names:
        return Rule
    if names[-1] == "pattern" or names[-2:-1] == ["patterns"]:
        holder = data
        for part in path:
            holder = holder[part]
        return Pattern if "patterns" in names else _pattern_class(holder, data)
    return _CLASSES.get(names[-1], Rule)


def _unknown_key(document: Document, path: KeyPath, data: Any) -> RuleError:
    owner = _class_at(path[:-1], data)
    known = [field.name for field in fields(owner) if field.name != "source"]
    key = str(path[-1])
    hint = nearest(key, known) or f"known here: {', '.join(known)}"
    return RuleError(f"unknown key '{key[:80]}'", location=document.locate(path, key=True), hint=hint)


def _near_missing(data: Any, path: KeyPath, key: str) -> str | None:
    """What was perhaps meant by a misspelt key next to the missing one."""
    for part in path:
        data = data[part]
    near = nearest(key, data) if isinstance(data, dict) else None
    return f"'{near.split(chr(39))[1]}' looks like it" if near else None


def _value_error(document: Document, path: KeyPath, detail: Any) -> RuleError:
    """A value of the wrong kind."""
    key = next((part for part in reversed(path) if isinstance(part, str)), "the rule")
    given = detail["input"]
    expected = str(detail.get("ctx", {}).get("expected", ""))
    choices = re.findall(r"'([^']+)'", expected)
    location = document.locate(path)
    if choices:
        hint = nearest(str(given), choices) or f"one of {', '.join(choices)}"
        return RuleError(f"'{key}' cannot be {_shown(given)}", location=location, hint=hint)
    kind = detail["type"]
    if kind == "string_type":
        return RuleError(f"'{key}' must be a string, this is {_shown(given)}", location=location, hint=_string_hint(given))
    if kind == "too_short":
        return RuleError(f"'{key}' must not be empty", location=location)
    words = {
        "list_type": "a list", "dict_type": "a mapping", "dataclass_type": "a mapping", "dict_attributes_type": "a mapping",
        "int_type": "a whole number", "int_parsing": "a whole number",
        # An expression may be written as a truth value too, and then the kind stands last.
        **dict.fromkeys(("bool_type", "bool_parsing"), "an expression" if detail["loc"][-1] == "bool" else "true or false"),
    }.get(kind)  # fmt: skip
    if words:
        return RuleError(f"'{key}' must be {words}, this is {_shown(given)}", location=location)
    message = detail["msg"]
    return RuleError(f"'{key}': {message[:1].lower()}{message[1:]}", location=location)


def _string_hint(given: Any) -> str | None:
    if isinstance(given, bool | int | float):
        return "put it in quotes"
    if isinstance(given, dict):
        return "text with ': ' or '{' at its start must be in quotes"
    return "it was left empty" if given is None else None


def _shown(value: Any) -> str:
    """A value in few words."""
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    return f"'{text[:40]}{'...' * (len(text) > 40)}'"
