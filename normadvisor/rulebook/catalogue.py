"""The rule book: built-in rules and the user's, and which of them a run uses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from normadvisor.errors import RuleError
from normadvisor.rulebook.files import rule_files
from normadvisor.rulebook.model import Rule
from normadvisor.rulebook.store import keep_rules, kept_rules, key_of
from normadvisor.types import Severity
from normadvisor.types.words import nearest

__all__ = ["ALL", "OFF", "RuleBook", "builtin_dir", "load_rules", "select_rules"]

ALL = "ALL"
"""Selects every rule, those that are off by default included."""
OFF = "off"
"""The severity that switches a rule off."""

_QUIET = ("NA7",)
"""Prefixes of rules that only run when they are selected: advice about speed, not about mistakes."""


@dataclass(frozen=True, slots=True)
class RuleBook:
    """Rules by id, in the order of their ids."""

    rules: dict[str, Rule] = field(default_factory=dict)

    def get(self, rule_id: str) -> Rule:
        """The rule with an id or a name.

        Raises:
            RuleError: there is none; the nearest is named.

        """
        wanted = rule_id.strip()
        found = self.rules.get(wanted.upper()) or next((rule for rule in self.rules.values() if rule.name == wanted.casefold()), None)
        if found is None:
            known = [*self.rules, *(rule.name for rule in self.rules.values())]
            hint = nearest(wanted, known) or "'normadvisor rule list' shows all"
            raise RuleError(f"unknown rule '{wanted}'", hint=hint)
        return found

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules.values())

    def __len__(self) -> int:
        return len(self.rules)


def builtin_dir() -> Path:
    """Folder of the rules that come with the package: inside it once installed, at the top of a checkout otherwise.

    Raises:
        RuleError: neither is there.

    """
    # Not importlib.resources, which takes longer to import than all rules to read.
    package = Path(__file__).parent.parent
    for place in (package / "_rules", package.parent / "rules"):
        if place.is_dir():
            return place
    raise RuleError("the built-in rules are missing from this installation", hint="install normadvisor again")


def load_rules(extra: Sequence[Path] = ()) -> RuleBook:
    """Read the built-in rules and those of further folders or files; what was read and checked before comes from the user's cache.

    Raises:
        RuleError: a folder is missing or holds no rules, or something is wrong with a rule.

    """
    paths = rule_files(builtin_dir())
    seen = {path.resolve() for path in paths}
    for place in extra:
        found = rule_files(place)
        if not found:
            raise RuleError(f"the folder '{place}' holds no rules", hint="rules are files that end in .yaml, one rule each")
        # The same folder named twice, or the built-in one named again, adds nothing.
        paths += [path for path in found if path.resolve() not in seen]
        seen |= {path.resolve() for path in found}
    key = key_of(paths)
    rules = kept_rules(key) if key is not None else None
    if rules is None:
        from normadvisor.rulebook.load import load_texts  # noqa: PLC0415  # YAML and the checks take longer to import than kept rules to read

        rules = sorted((item.rule for item in load_texts(paths)), key=lambda rule: rule.id)
        if key is not None:
            keep_rules(key, rules)
    return RuleBook({rule.id: rule for rule in rules})


def select_rules(
    book: RuleBook,
    *,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    extend_select: Collection[str] = (),
    severity: Mapping[str, str] | None = None,
) -> list[Rule]:
    """The rules of a run, in the order of their ids.

    Args:
        book: all rules.
        select: ids, names or prefixes of ids (``NA1``); ``ALL`` for every rule. Empty: all but ``NA7``.
        ignore: ids, names or prefixes to leave out. Where a rule is both selected and ignored, the longer of the two spellings wins, and
            ``ignore`` wins among equals.
        extend_select: selected beside ``select``.
        severity: severities by id, name or prefix instead of the rules' own; ``off`` leaves a rule out.

    Raises:
        RuleError: an id, name or prefix that no rule has, or an unknown severity.

    """
    chosen = _reach(book, select, "select") if select else {rule.id: 0 for rule in book if not rule.id.startswith(_QUIET)}
    for rule_id, weight in _reach(book, extend_select, "extend-select").items():
        chosen[rule_id] = max(weight, chosen.get(rule_id, 0))
    ignored = _reach(book, ignore, "ignore")
    changes = _severities(book, severity or {})
    rules = []
    for rule in book:
        if rule.id not in chosen or ignored.get(rule.id, -1) >= chosen[rule.id]:
            continue
        change = changes.get(rule.id)
        if change != OFF:
            rules.append(rule if change is None else _with_severity(rule, Severity(change)))
    return rules


def _with_severity(rule: Rule, severity: Severity) -> Rule:
    """The rule with the user's severity, which its own adjustments no longer change."""
    adjust = [replace(change, severity=None) for change in rule.adjust]
    return replace(rule, severity=severity, adjust=adjust)


def _reach(book: RuleBook, spellings: Collection[str], what: str) -> dict[str, int]:
    """Rules that ids, names and prefixes reach, each with the length of the longest of them that does."""
    reached: dict[str, int] = {}
    for spelling in spellings:
        for rule_id in _matching(book, spelling, what):
            weight = 0 if spelling.upper() == ALL else len(rule_id) if spelling.casefold() == book.rules[rule_id].name else len(spelling)
            reached[rule_id] = max(weight, reached.get(rule_id, 0))
    return reached


def _matching(book: RuleBook, spelling: str, what: str) -> list[str]:
    """Ids that one spelling stands for."""
    if spelling.upper() == ALL:
        return list(book.rules)
    found = [rule.id for rule in book if rule.name == spelling.casefold() or (spelling and rule.id.startswith(spelling.upper()))]
    if not found:
        known = [*book.rules, *(rule.name for rule in book)]
        hint = nearest(spelling, known) or "'normadvisor rule list' shows all"
        raise RuleError(f"'{what}' names no rule: '{spelling}'", hint=hint)
    return found


def _severities(book: RuleBook, severity: Mapping[str, str]) -> dict[str, str]:
    """Severity by id; a longer spelling wins over a shorter one."""
    choices = [*Severity, OFF]
    changes: dict[str, str] = {}
    for spelling in sorted(severity, key=len):
        value = severity[spelling]
        if value not in choices:
            raise RuleError(f"unknown severity '{value}' for '{spelling}'", hint=nearest(value, choices) or f"one of {', '.join(choices)}")
        changes.update(dict.fromkeys(_matching(book, spelling, "severity"), value))
    return changes
