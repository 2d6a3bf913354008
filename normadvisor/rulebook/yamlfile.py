"""YAML as data with the place of every key and value.

Files are read event by event instead of through ``yaml.compose``: composing recurses in C, where a few thousand brackets
end the process, and it follows aliases without a limit. Nothing in a file can name a Python type.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from normadvisor.errors import RuleError
from normadvisor.types import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "Document", "KeyPath", "Scalar", "parse_document"]

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of a document to a value."""

MAX_BYTES = 256 * 1024
"""Largest file that is read."""
MAX_DEPTH = 40
"""Deepest nesting of lists and mappings."""
MAX_VALUES = 20_000
"""Most values in a document, each use of an alias counted in full."""

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_CONVERTED = {f"{_PREFIX}bool", f"{_PREFIX}int", f"{_PREFIX}float", f"{_PREFIX}null"}
_KNOWN_TAGS = _CONVERTED | {f"{_PREFIX}str", f"{_PREFIX}seq", f"{_PREFIX}map", "!", None}


@dataclass(frozen=True, slots=True)
class Scalar:
    """How a scalar was written: 0-based line and column of its first character, and its style."""

    line: int
    column: int
    style: str | None = None
    """``None`` or empty for plain, a quote, ``|`` or ``>``."""


@dataclass(slots=True)
class Document:
    """A document as plain data, with the places of its keys and values."""

    path: str
    text: str
    data: Any = None
    keys: dict[KeyPath, Scalar] = field(default_factory=dict)
    values: dict[KeyPath, Scalar] = field(default_factory=dict)

    def locate(self, path: KeyPath, *, key: bool = False) -> Location:
        """Place of the value at ``path``, or of its key; of the nearest thing around it when it has no place of its own.

        A position in a list that was written as its only member leads to that member.
        """
        path = self._written(path)
        if key and path in self.keys:
            mark = self.keys[path]
            return Location(self.path, mark.line + 1, mark.column + 1)
        while path and path not in self.values:
            path = path[:-1]
        mark = self.values.get(path, Scalar(0, 0))
        return Location(self.path, mark.line + 1, mark.column + 1)

    def locate_inside(self, path: KeyPath, line: int, column: int) -> Location:
        """Place of a character of the string at ``path``.

        Args:
            path: where the string is.
            line: 0-based line in the string.
            column: 0-based column in that line.

        Returns:
            The exact place where the notation allows it (plain and quoted strings on one line, ``|`` blocks), else the string's.

        """
        path = self._written(path)
        mark = self.values.get(path)
        if mark is None:
            return self.locate(path)
        if mark.style == "|":
            row = mark.line + 1 + line
            lines = self.text.splitlines()
            first = next((text for text in lines[mark.line + 1 :] if text.strip()), "")
            indent = len(first) - len(first.lstrip(" "))
            return Location(self.path, row + 1, indent + column + 1) if row < len(lines) else self.locate(path)
        if mark.style == ">" or line > 0:
            return self.locate(path)
        offset = 1 if mark.style in {"'", '"'} else 0
        return Location(self.path, mark.line + 1, mark.column + offset + column + 1)

    def _written(self, path: KeyPath) -> KeyPath:
        """The path as the file has it, without positions in lists that the file does not spell as lists."""
        data = self.data
        written: list[str | int] = []
        for part in path:
            if isinstance(part, int) and not isinstance(data, list):
                continue
            written.append(part)
            inside = (isinstance(data, list) and isinstance(part, int) and part < len(data)) or (isinstance(data, dict) and part in data)
            data = data[part] if inside else None
        return tuple(written)


class _Reader:
    """Builds one :class:`Document` from the events of a parser."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.events: Iterator[Any] = iter(yaml.parse(document.text, Loader=_LOADER))
        self.anchors: dict[str, tuple[Any, int] | None] = {}
        self.count = 0
        self.resolver: Any = Resolver()
        self.constructor: Any = SafeConstructor()

    def fail(self, message: str, event: Any, hint: str | None = None) -> RuleError:
        """An error at an event."""
        mark = event.start_mark
        return RuleError(message, location=Location(self.document.path, mark.line + 1, mark.column + 1), hint=hint)

    def read(self) -> None:
        """Fill the document in."""
        next(self.events)
        event = next(self.events)
        if not isinstance(event, yaml.DocumentStartEvent):
            return
        self.document.data = self.value(next(self.events), ())
        next(self.events)
        extra = next(self.events)
        if not isinstance(extra, yaml.StreamEndEvent):
            message = "a second document starts here"
            raise self.fail(message, extra, "one rule per file; remove the '---'")

    def count_up(self, event: Any, amount: int = 1) -> None:
        """Count values against the limit."""
        self.count += amount
        if self.count > MAX_VALUES:
            message = f"more than {MAX_VALUES} values, aliases counted in full"
            raise self.fail(message, event)

    def value(self, event: Any, path: KeyPath) -> Any:
        """Read the value that starts at ``event``."""
        if len(path) > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise self.fail(message, event)
        mark = event.start_mark
        self.document.values[path] = Scalar(mark.line, mark.column, getattr(event, "style", None))
        self.count_up(event)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if event.tag not in _KNOWN_TAGS:
            message = f"the tag '{event.tag.removeprefix(_PREFIX)}' is not allowed"
            raise self.fail(message, event, "rule files hold plain strings, numbers, lists and mappings")
        start = self.count
        if event.anchor:
            self.anchors[event.anchor] = None
        result: Any
        if isinstance(event, yaml.ScalarEvent):
            result = self.scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            result = self.sequence(path)
        else:
            result = self.mapping(path)
        if event.anchor:
            self.anchors[event.anchor] = (result, self.count - start)
        return result

    def alias(self, event: Any) -> Any:
        """Resolve ``*name``."""
        if event.anchor not in self.anchors:
            message = f"there is no anchor '&{event.anchor}' before this"
            raise self.fail(message, event)
        anchored = self.anchors[event.anchor]
        if anchored is None:
            message = f"'*{event.anchor}' stands inside what it refers to"
            raise self.fail(message, event)
        self.count_up(event, anchored[1])
        return anchored[0]

    def scalar(self, event: Any) -> Any:
        """Convert a scalar; dates stay strings."""
        tag = event.tag or self.resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag not in _CONVERTED:
            return event.value
        node = yaml.ScalarNode(tag, event.value)
        convert = getattr(self.constructor, f"construct_yaml_{tag.removeprefix(_PREFIX)}")
        try:
            return convert(node)
        except (ValueError, KeyError, IndexError) as error:
            message = f"'{event.value[:40]}' is not a {tag.removeprefix(_PREFIX)}"
            raise self.fail(message, event, "put it in quotes to make it a string") from error

    def sequence(self, path: KeyPath) -> list[Any]:
        """Read the rest of a list."""
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.value(event, (*path, len(items))))
        return items

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        """Read the rest of a mapping."""
        items: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                message = "a key must be a plain string"
                raise self.fail(message, event)
            key = event.value
            here = (*path, key)
            if key in items:
                first = self.document.keys[here].line + 1
                message = f"duplicate key '{key[:80]}'"
                raise self.fail(message, event, f"the first is on line {first}")
            mark: Any = event.start_mark
            self.document.keys[here] = Scalar(mark.line, mark.column, event.style)
            items[key] = self.value(next(self.events), here)
        return items


def parse_document(text: str, path: str) -> Document:
    """Read one YAML document.

    Args:
        text: the file's content.
        path: name of the file in locations.

    Raises:
        RuleError: not YAML, duplicate keys, unknown tags, too deep or too many values.

    """
    document = Document(path, text)
    try:
        _Reader(document).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        location = Location(path, mark.line + 1, mark.column + 1) if mark else Location(path, 1)
        words = ", ".join(part for part in (error.problem, error.context) if part)
        message = f"not valid YAML: {words}"
        raise RuleError(message, location=location) from error
    except yaml.YAMLError as error:
        line, column = _reader_error_place(text, getattr(error, "position", 0))
        reason = getattr(error, "reason", None) or str(error)
        message = f"not valid YAML: {reason}"
        raise RuleError(message, location=Location(path, line, column)) from error
    return document


def _reader_error_place(text: str, position: int | None) -> tuple[int, int]:
    """1-based line and column of a character that YAML does not admit."""
    before = text[: position or 0]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
