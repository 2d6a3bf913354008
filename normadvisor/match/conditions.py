"""Conditions and templates of a rule, made ready to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from normadvisor.errors import ExpressionError, RuleError
from normadvisor.rulebook.expression import Expression
from normadvisor.rulebook.model import Adjustment, Rule
from normadvisor.rulebook.template import Template
from normadvisor.types import Confidence, Location, Severity

__all__ = ["CompiledAdjustment", "Condition", "OncePerRule", "Scope", "Text", "compile_adjustments", "place_of"]

Scope = Mapping[str, Any]
Made = TypeVar("Made")
_MOST_RULES = 1000


def place_of(source: str, text: str) -> Location | None:
    """Where a rule file holds an expression, as far as a search for its first line can tell; the file alone otherwise."""
    if not source:
        return None
    first = next(iter(text.strip().splitlines()), "")
    try:
        lines = Path(source).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return Location(source, 1)
    for number, line in enumerate(lines, 1):
        if first and first in line:
            return Location(source, number, line.index(first) + 1)
    return Location(source, 1)


class _Evaluable:
    """What conditions and templates share: the rule they belong to, for errors."""

    def __init__(self, rule: Rule, what: str, text: str) -> None:
        self._rule = rule
        self._what = what
        self.text = text

    def guarded(self, run: Callable[[], Any]) -> Any:
        """The result of ``run``.

        Raises:
            RuleError: evaluation failed; the message names the rule, the part of it and the expression.

        """
        try:
            return run()
        except ExpressionError as error:
            message = f"{self._rule.id}: {self._what}: {error.message}"
            raise RuleError(message, location=error.location or place_of(self._rule.source, self.text), hint=error.hint) from error


class Condition(_Evaluable):
    """An expression of a rule."""

    def __init__(self, rule: Rule, what: str, text: str) -> None:
        super().__init__(rule, what, text)
        self._expression: Expression = self.guarded(lambda: Expression(text))

    def __call__(self, scope: Scope) -> Any:
        """Evaluate.

        Raises:
            RuleError: evaluation failed.

        """
        return self.guarded(lambda: self._expression.evaluate(scope))


class Text(_Evaluable):
    """A template of a rule."""

    def __init__(self, rule: Rule, what: str, text: str) -> None:
        super().__init__(rule, what, text)
        self._template: Template = self.guarded(lambda: Template(text))

    def __call__(self, scope: Scope) -> str:
        """Fill in the placeholders.

        Raises:
            RuleError: evaluation failed.

        """
        return str(self.guarded(lambda: self._template.render(scope)))

    def known(self, scope: Scope) -> str | None:
        """The text; ``None`` where a placeholder has no value.

        Raises:
            RuleError: evaluation failed.

        """
        known = self.guarded(lambda: all(value is not None for value in self._template.values(scope)))
        return self(scope) if known else None


@dataclass(frozen=True, slots=True)
class CompiledAdjustment:
    """An :class:`~normadvisor.rulebook.model.Adjustment`, ready to run."""

    when: Condition
    severity: Severity | None
    confidence: Confidence | None
    message: Text | None


def compile_adjustments(rule: Rule, adjustments: Iterable[Adjustment]) -> tuple[CompiledAdjustment, ...]:
    """The adjustments of one side of a rule.

    Raises:
        RuleError: an expression does not parse.

    """
    return tuple(
        CompiledAdjustment(
            Condition(rule, "when of an adjustment", change.when),
            change.severity,
            change.confidence,
            None if change.message is None else Text(rule, "message of an adjustment", change.message),
        )
        for change in adjustments
    )


class OncePerRule(Generic[Made]):
    """Makes something of a rule once for as long as the same object is asked for: parsing takes longer than matching a small model."""

    def __init__(self, make: Callable[[Rule], Made]) -> None:
        self._make = make
        # By identity of the rule, which is held so that no other object gets its number.
        self._made: dict[int, tuple[Rule, Made]] = {}

    def __call__(self, rule: Rule) -> Made:
        """What was made of the rule."""
        known = self._made.get(id(rule))
        if known is None or known[0] is not rule:
            made = self._make(rule)
            if len(self._made) >= _MOST_RULES:
                self._made.clear()
            known = self._made[id(rule)] = (rule, made)
        return known[1]
