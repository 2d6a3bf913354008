"""Conditions and values of a rule, in a small safe part of Python's expression syntax."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from normadvisor.errors import ExpressionError
from normadvisor.rulebook.language import Flaw, Names, parse_expression
from normadvisor.rulebook.vocabulary import CONTEXT, MODEL
from normadvisor.types import Location

if TYPE_CHECKING:
    from normadvisor.rulebook.evaluator import Evaluator

__all__ = ["Expression", "Locator", "as_names"]

Locator = Callable[[int, int], Location]
"""Place in the rule's file of a 0-based line and column of the expression's text."""

_EVALUATION_ERRORS = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RecursionError)


def as_names(names: Names | Iterable[str] | None) -> Names | None:
    """Names with their attributes; of plain names only ``context`` and ``model`` have known ones."""
    if names is None or isinstance(names, Mapping):
        return names
    known = {"context": CONTEXT, "model": MODEL}
    return {name: known.get(name) for name in names}


class Expression:
    """An expression that was checked when it was made and can be evaluated any number of times.

    Pickles as its text, so that sending a rule to another process costs nothing.

    Args:
        text: the expression.
        names: names it may use, or a mapping from names to the attributes they have; ``None`` leaves names unchecked.
        location: where it stands, for errors.
        countable: what ``count`` may count beside operations and groups; ``None`` leaves that unchecked.
        locate: place of a line and column of the text, for exact errors; ``location`` otherwise.

    Raises:
        ExpressionError: it does not parse, uses what is not admitted, or names something unknown.

    """

    __slots__ = ("_evaluator", "_tree", "location", "text")

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
        self._evaluator: Evaluator | None = None
        try:
            self._tree: ast.expr | None = parse_expression(text, as_names(names), countable)
        except Flaw as flaw:
            place = locate(flaw.line, flaw.column) if locate else location
            raise ExpressionError(flaw.message, location=place, hint=flaw.hint) from None

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Value of the expression.

        Args:
            scope: values of the names: mappings or objects whose data attributes are read. A missing name is ``None``. ``count(x)``
                calls ``scope["count"]("x")`` where there is such a function, and else looks ``x`` up in ``scope["model"].counts``.

        Raises:
            ExpressionError: the values do not fit, e.g. a string is compared with a number.

        """
        evaluator = self._evaluator
        if evaluator is None:
            from normadvisor.rulebook.evaluator import Evaluator  # noqa: PLC0415  # reading rules needs no evaluator

            evaluator = self._evaluator = Evaluator()
        if self._tree is None:
            self._tree = parse_expression(self.text)
        try:
            return evaluator.run(self._tree, scope)
        except _EVALUATION_ERRORS as error:
            message = f"'{self.text}' cannot be evaluated: {error}"
            raise ExpressionError(message, location=self.location) from error

    def holds(self, scope: Mapping[str, Any]) -> bool:
        """Whether the value counts as true; see :meth:`evaluate`."""
        return bool(self.evaluate(scope))

    @classmethod
    def _restored(cls, text: str, location: Location | None) -> Self:
        """An expression checked in another process: parsed, and checked for all but its names, when first evaluated."""
        made = cls.__new__(cls)
        made.text, made.location, made._tree, made._evaluator = text, location, None, None  # noqa: SLF001  # its own class
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return self._restored, (self.text, self.location)

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Expression) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"
