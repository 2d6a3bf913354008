"""The rules that the settings select. Nothing here imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.config import Settings
from normadvisor.errors import RuleError
from normadvisor.types.words import nearest

if TYPE_CHECKING:
    from normadvisor.rulebook import RuleBook
    from normadvisor.rulebook.model import Rule

__all__ = ["REPLACEMENTS", "load_selected"]


REPLACEMENTS = "NA7"
"""What the ids of rules about faster replacements begin with."""


def load_selected(settings: Settings, *, replacements: bool = False) -> tuple[RuleBook, list[Rule]]:
    """All rules, and those that the settings select.

    Args:
        settings: what is selected, ignored, and how severe it is.
        replacements: whether to select all rules about faster replacements that are not ignored, in place of what the settings select.

    Raises:
        RuleError: a rule file or a selector is wrong; a selector's error says where in the configuration it stands.

    """
    from normadvisor.rulebook import load_rules, select_rules

    book = load_rules(settings.rules)
    select, extend = (settings.select, settings.extend_select) if not replacements else ((REPLACEMENTS,), ())
    try:
        rules = select_rules(book, select=select, ignore=settings.ignore, extend_select=extend, severity=settings.severity)
    except RuleError as error:
        places = (place for key, place in settings.locations.items() if f"'{key.partition('.')[0]}'" in error.message)
        raise RuleError(error.message, location=error.location or next(places, None), hint=error.hint) from error
    _check_ignores(settings, book)
    return book, rules


def _check_ignores(settings: Settings, book: RuleBook) -> None:
    """Refuse names in ``per-file-ignores`` that silence nothing, as ``select`` does.

    Raises:
        RuleError: no rule has such an id, or an id that begins so.

    """
    for glob, ids in settings.per_file_ignores.items():
        for text in ids:
            if not any(rule.startswith(text) for rule in book.rules):
                hint = nearest(text, book.rules) or "'normadvisor rule list' shows all ids"
                place = settings.locations.get(f"per_file_ignores.{glob}")
                raise RuleError(f"'per-file-ignores' names no rule: {text!r}", location=place, hint=hint)
