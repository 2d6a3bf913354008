"""What the fixes of a rule on the graph must satisfy: each kind of change has what it needs, and names what the pattern captures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Protocol

from normadvisor.rulebook.language import Names
from normadvisor.rulebook.model import Change, FixTemplate
from normadvisor.rulebook.template import Template
from normadvisor.rulebook.vocabulary import NODE
from normadvisor.rulebook.yamlfile import KeyPath
from normadvisor.types import Applicability, OperationKind
from normadvisor.types.words import nearest

__all__ = ["ARGUMENT_FORM", "LAYER_FORM", "check_fix", "expression_text"]

ARGUMENT_FORM = "[A-Za-z_][A-Za-z0-9_]*"
"""Form of an argument's name."""
LAYER_FORM = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+"
"""Form of a layer's name once its placeholders are filled in."""

_ARGUMENT, _LAYER, _LAYER_TEXT = re.compile(ARGUMENT_FORM), re.compile(LAYER_FORM), re.compile(r"[A-Za-z0-9_.]*")
_BUILDS = {OperationKind.REPLACE_LAYER, OperationKind.INSERT_LAYER, OperationKind.WRAP_LAYER}
_NEEDED: dict[OperationKind, tuple[str, ...]] = {
    OperationKind.SET_ARGUMENT: ("argument", "value"),
    OperationKind.SWAP_LAYERS: ("other",),
    **dict.fromkeys((*_BUILDS, OperationKind.USE_FUNCTION), ("layer",)),
}
_USED = {kind: {*_NEEDED.get(kind, ()), *(["arguments"] if kind in _BUILDS else [])} for kind in OperationKind}


class Checker(Protocol):
    """The part of the rule's checker that is needed here."""

    def error(self, message: str, path: KeyPath, hint: str | None = None, *, key: bool = False) -> None:
        """Note an error."""

    def expression(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a condition or value."""

    def template(self, text: str | None, path: KeyPath, names: Names) -> None:
        """Check a message."""

    def compiled(self, kind: Callable[..., object], text: str | None, path: KeyPath, names: Names) -> object:
        """Check either; the expression or template, ``None`` when something is wrong with it."""


def expression_text(value: str | float) -> str:
    """An expression as it is evaluated: numbers and truth values as they are written in one."""
    return value if isinstance(value, str) else repr(value)


def check_fix(checker: Checker, fix: FixTemplate, path: KeyPath, names: Names, captured: Mapping[str, bool]) -> None:
    """Note everything wrong with one fix.

    Args:
        checker: collects the errors.
        fix: the fix of a rule on the graph, or one of its alternatives.
        path: where it stands in the file.
        names: what its expressions may use.
        captured: names of nodes and modules that the pattern captures; true for those that stand for several.

    """
    checker.template(fix.description, (*path, "description"), names)
    checker.template(fix.title or None, (*path, "title"), names)
    checker.template(fix.trade_off or None, (*path, "trade_off"), names)
    checker.expression(fix.when, (*path, "when"), names)
    if fix.edit is not None:
        checker.error("an 'edit' changes a script", (*path, "edit"), "it belongs to the fix of the 'script' section", key=True)
    if fix.change and fix.applicability is Applicability.DISPLAY:
        checker.error("a fix in words only changes nothing", (*path, "change"), "leave 'change' out, or make it safe or unsafe", key=True)
    for position, change in enumerate(fix.change):
        _check_change(checker, change, (*path, "change", position), names, captured)


def _check_change(checker: Checker, change: Change, path: KeyPath, names: Names, captured: Mapping[str, bool]) -> None:
    """Keys that belong to the kind, the nodes it names, and its expressions."""
    _keys(checker, change, path)
    _captured(checker, change.of, (*path, "of"), captured)
    if change.other is not None:
        single = {name: several for name, several in captured.items() if not several}
        _captured(checker, change.other, (*path, "other"), single)
    if change.argument is not None and not _ARGUMENT.fullmatch(change.argument):
        checker.error(f"'{change.argument}' is no name of an argument", (*path, "argument"))
    if change.value is not None:
        checker.expression(expression_text(change.value), (*path, "value"), names)
    for name, value in change.arguments.items():
        if not _ARGUMENT.fullmatch(name):
            checker.error(f"'{name}' is no name of an argument", (*path, "arguments", name), key=True)
        checker.expression(expression_text(value), (*path, "arguments", name), names)
    inside = {**names, "via": NODE} if captured.get(change.of) else names
    checker.expression(change.when, (*path, "when"), inside)
    if change.layer is not None:
        _layer(checker, change.layer, (*path, "layer"), names)


def _keys(checker: Checker, change: Change, path: KeyPath) -> None:
    """What the kind needs must be there, and nothing that means nothing to it."""
    for key in _NEEDED.get(change.kind, ()):
        if getattr(change, key) is None:
            checker.error(f"'{change.kind}' needs '{key}'", path)
    for key in ("other", "argument", "value", "layer", "arguments"):
        if key not in _USED[change.kind] and getattr(change, key) not in (None, {}):
            used = ", ".join(sorted(_USED[change.kind]))
            checker.error(f"'{key}' means nothing to '{change.kind}'", (*path, key), f"it takes: {used}" if used else None, key=True)


def _captured(checker: Checker, name: str, path: KeyPath, captured: Mapping[str, bool]) -> None:
    if name not in captured:
        hint = nearest(name, captured) or f"it captures: {', '.join(captured) or 'nothing of this kind'}"
        checker.error(f"'{path[-1]}' names '{name}', which the pattern does not capture", path, hint)


def _layer(checker: Checker, text: str, path: KeyPath, names: Names) -> None:
    """A template whose plain parts can belong to a dotted name."""
    made = checker.compiled(Template, text, path, names)
    if not isinstance(made, Template):
        return
    plain = [part for part in made.parts if isinstance(part, str)]
    whole = len(plain) == len(made.parts)
    if (whole and not _LAYER.fullmatch(text)) or not all(_LAYER_TEXT.fullmatch(part) for part in plain):
        checker.error(f"'{text[:80]}' is no dotted name of a layer", path, "such as torch.nn.GroupNorm")
