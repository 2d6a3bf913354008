"""Fixes of a rule made ready to run: conditions and templates parsed. Works without torch, since scripts have fixes too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from normadvisor.match.conditions import Condition, Scope, Text
from normadvisor.rulebook.check_fixes import expression_text
from normadvisor.rulebook.model import Change, FixTemplate, Rule
from normadvisor.types import Fix, OperationKind

__all__ = ["CompiledChange", "CompiledFix", "compile_fixes", "distinct"]


@dataclass(frozen=True, slots=True)
class CompiledChange:
    """A :class:`~normadvisor.rulebook.model.Change`, ready to run."""

    kind: OperationKind
    of: str
    other: str | None
    argument: str
    value: Condition | None
    layer: Text | None
    arguments: Mapping[str, Condition]
    when: Condition | None


@dataclass(frozen=True, slots=True)
class CompiledFix:
    """A :class:`~normadvisor.rulebook.model.FixTemplate`, ready to run."""

    template: FixTemplate
    description: Text
    title: Text
    trade_off: Text
    when: Condition | None
    changes: tuple[CompiledChange, ...]

    def offered(self, scopes: Sequence[Scope]) -> bool:
        """Whether its condition holds for everything that a finding is about."""
        return self.when is None or all(self.when(scope) for scope in scopes)

    def worded(self, scope: Scope) -> Fix:
        """The fix in words."""
        return Fix(
            applicability=self.template.applicability,
            description=" ".join(self.description(scope).split()),
            title=" ".join(self.title(scope).split()),
            trade_off=" ".join(self.trade_off(scope).split()),
        )


def compile_fixes(rule: Rule, fix: FixTemplate | None, alternatives: Sequence[FixTemplate]) -> tuple[CompiledFix, ...]:
    """The fixes of one side of a rule, the default one first.

    Raises:
        RuleError: an expression does not parse.

    """
    return tuple(_compiled(rule, template) for template in (*([] if fix is None else [fix]), *alternatives))


def _compiled(rule: Rule, template: FixTemplate) -> CompiledFix:
    return CompiledFix(
        template=template,
        description=Text(rule, "description of the fix", template.description),
        title=Text(rule, "title of the fix", template.title),
        trade_off=Text(rule, "trade_off of the fix", template.trade_off),
        when=None if template.when is None else Condition(rule, "when of the fix", template.when),
        changes=tuple(_change(rule, change) for change in template.change),
    )


def _change(rule: Rule, change: Change) -> CompiledChange:
    return CompiledChange(
        kind=change.kind,
        of=change.of,
        other=change.other,
        argument=change.argument or "",
        value=None if change.value is None else Condition(rule, "value of a change", expression_text(change.value)),
        layer=None if change.layer is None else Text(rule, "layer of a change", change.layer),
        arguments={
            name: Condition(rule, f"argument `{name}` of a change", expression_text(value)) for name, value in change.arguments.items()
        },
        when=None if change.when is None else Condition(rule, "when of a change", change.when),
    )


def distinct(fixes: Sequence[Fix]) -> list[Fix]:
    """Fixes without those that do the same as one before them."""
    found: list[Fix] = []
    for fix in fixes:
        does_something = fix.operations or fix.edits
        if not does_something or all((fix.operations, fix.edits) != (other.operations, other.edits) for other in found):
            found.append(fix)
    return found
