"""Sentences with expressions in braces: the messages of a rule."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from normadvisor.errors import ExpressionError
from normadvisor.rulebook.expression import Expression, Locator, as_names
from normadvisor.rulebook.language import Names
from normadvisor.types import Location

__all__ = ["MAX_ITEMS", "MAX_WIDTH", "Template"]

MAX_ITEMS = 12
"""Most values of a list that are spelled out."""
MAX_WIDTH = 300
"""Longest text of one value."""
MAX_TEXT = 4000
"""Longest template."""

_SPEC = re.compile(r",?(?:\.\d{1,2})?[defg%]?")
_NUMBERED = re.compile(r"\d+(\.\d+)*")
_LAYER = re.compile(r"\blayers? $", re.IGNORECASE)
_OPENING = {"(": ")", "[": "]"}


class Template:
    """A text with placeholders: ``{expression}`` or ``{expression:.3g}``; ``{{`` and ``}}`` are braces.

    Format specifications are those of numbers: ``,``, a precision and one of ``d e f g %``. Lists are joined by commas, ``None`` reads
    ``unknown``, numbers with a fraction have four significant digits unless told otherwise; texts that look like numbers are names of
    layers, and ``0.1`` reads ``layer 0.1``.

    Args:
        text: the template.
        names: as for :class:`normadvisor.rulebook.expression.Expression`.
        location: where the template stands, for errors.
        countable: as for :class:`~normadvisor.rulebook.expression.Expression`.
        locate: place of a line and column of the text.

    Raises:
        ExpressionError: braces do not match, or an expression in them is wrong.

    """

    __slots__ = ("location", "parts", "text")

    def __init__(
        self,
        text: str,
        names: Names | Iterable[str] | None = None,
        *,
        location: Location | None = None,
        countable: Collection[str] | None = None,
        locate: Locator | None = None,
    ) -> None:
        self.text = text
        self.location = location
        self.parts: list[str | tuple[Expression, str]] = []
        self._parse(as_names(names), countable, locate)

    def render(self, scope: Mapping[str, Any]) -> str:
        """The text with every placeholder replaced by its value.

        Raises:
            ExpressionError: an expression cannot be evaluated, or a number format is applied to something else.

        """
        text = ""
        for part in self.parts:
            text += part if isinstance(part, str) else self._format(*part, scope, named=_LAYER.search(text) is not None)
        return text

    def values(self, scope: Mapping[str, Any]) -> list[Any]:
        """Value of every placeholder, in order.

        Raises:
            ExpressionError: an expression cannot be evaluated.

        """
        return [part[0].evaluate(scope) for part in self.parts if not isinstance(part, str)]

    def _format(self, expression: Expression, spec: str, scope: Mapping[str, Any], *, named: bool) -> str:
        """One value; ``named`` where the text before it says already that a layer follows."""
        value = expression.evaluate(scope)
        try:
            return _show(value if named else _not_a_number(value), spec)
        except (TypeError, ValueError, OverflowError) as error:
            message = f"'{expression.text}' is no number, so it cannot be written as '{spec}'"
            raise ExpressionError(message, location=self.location) from error

    def _parse(self, names: Names | None, countable: Collection[str] | None, locate: Locator | None) -> None:
        """Split the text into plain parts and placeholders."""
        text = self.text
        if len(text) > MAX_TEXT:
            raise self._error(f"the text has {len(text)} characters, at most {MAX_TEXT} are allowed", 0, locate)
        plain: list[str] = []
        at = 0
        while at < len(text):
            character = text[at]
            if character in "{}" and text[at : at + 2] == character * 2:
                plain.append(character)
                at += 2
            elif character == "{":
                colon, end = self._placeholder(at, locate)
                self.parts += ["".join(plain)] * bool(plain)
                plain = []
                expression = self._expression(at + 1, colon, names, countable, locate)
                spec = text[colon + 1 : end] if colon < end else ""
                if not _SPEC.fullmatch(spec):
                    raise self._error(f"unknown number format '{spec}'", colon, locate, "such as .3g, .1%, ,d")
                self.parts.append((expression, spec))
                at = end + 1
            elif character == "}":
                raise self._error("'}' without '{'", at, locate, "write '}}' for a brace")
            else:
                plain.append(character)
                at += 1
        self.parts += ["".join(plain)] * bool(plain)

    def _placeholder(self, start: int, locate: Locator | None) -> tuple[int, int]:
        """Where the format's colon (or the end, if there is none) and the closing brace of the placeholder at ``start`` are."""
        depth: list[str] = []
        quote = ""
        colon: int | None = None
        for at in range(start + 1, len(self.text)):
            character = self.text[at]
            if quote:
                quote = "" if character == quote else quote
            elif character in "'\"":
                quote = character
            elif character in _OPENING:
                depth.append(_OPENING[character])
            elif depth and character == depth[-1]:
                depth.pop()
            elif character == "}":
                return (at if colon is None else colon), at
            elif character == "{":
                break
            elif character == ":" and not depth and colon is None:
                colon = at
        raise self._error("'{' without '}'", start, locate, "write '{{' for a brace")

    def _expression(
        self, start: int, end: int, names: Names | None, countable: Collection[str] | None, locate: Locator | None
    ) -> Expression:
        """The expression between two positions of the text."""
        before = self.text[:start]
        first_line = before.count("\n")
        first_column = start - (before.rfind("\n") + 1)

        def place(line: int, column: int) -> Location:
            assert locate is not None  # noqa: S101  # only handed on when there is one
            return locate(first_line + line, column + (first_column if line == 0 else 0))

        return Expression(
            self.text[start:end], names, location=self.location, countable=countable, locate=place if locate else None
        )

    def _error(self, message: str, at: int, locate: Locator | None, hint: str | None = None) -> ExpressionError:
        """An error at a position of the text."""
        before = self.text[:at]
        place = locate(before.count("\n"), at - (before.rfind("\n") + 1)) if locate else self.location
        return ExpressionError(message, location=place, hint=hint)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.text, self.location, self.parts)

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def _restored(text: str, location: Location | None, parts: list[str | tuple[Expression, str]]) -> Template:
    """A template checked in another process."""
    made = Template.__new__(Template)
    made.text, made.location, made.parts = text, location, parts
    return made


def _not_a_number(value: Any) -> Any:
    """A name such as ``0`` or ``0.1``, as layers of ``nn.Sequential`` have, with the word that tells it from a number."""
    if isinstance(value, list | tuple):
        return [_not_a_number(item) for item in value]
    return f"layer {value}" if isinstance(value, str) and _NUMBERED.fullmatch(value) else value


def _show(value: Any, spec: str) -> str:
    """A value as a reader wants to see it."""
    if value is None:
        return "unknown"
    if isinstance(value, list | tuple):
        shown = ", ".join(_show(item, spec) for item in value[:MAX_ITEMS])
        return f"{shown} and {len(value) - MAX_ITEMS} more" if len(value) > MAX_ITEMS else shown
    if spec:
        return format(value, spec)[:MAX_WIDTH]
    if isinstance(value, float):
        return format(value, ".4g")
    text = str(value)
    return text if len(text) <= MAX_WIDTH else f"{text[:MAX_WIDTH]}..."
