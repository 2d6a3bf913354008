"""The fixes of a rule in words: what each preserves, costs, needs and does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from normadvisor.rulebook.check_fixes import expression_text
from normadvisor.rulebook.model import Change, FixTemplate, Rule
from normadvisor.rulebook.readable import readable
from normadvisor.types import Applicability, OperationKind
from normadvisor.types.events import EDITS

__all__ = ["applicabilities", "explained_fixes"]

_SAFETY = {
    Applicability.SAFE: "**Safe**: the same function is computed.",
    Applicability.UNSAFE: "**Unsafe**: what is learned or stored changes.",
    Applicability.DISPLAY: "**By hand**: nothing is changed automatically.",
}


def applicabilities(rule: Rule) -> str:
    """What the fixes of a rule preserve, the default one first; those by hand only where there is no other."""
    kinds = [fix.applicability for fix in (*([rule.fix] if rule.fix else []), *rule.alternatives)]
    applied = [kind for kind in kinds if kind is not Applicability.DISPLAY]
    return ", ".join(dict.fromkeys(applied or kinds))


def explained_fixes(rule: Rule) -> Iterator[str]:
    """The section about fixes, block by block."""
    yield "## Fixes"
    if rule.fix is None:
        yield "There is no one way to mend it, so none is offered."
    else:
        yield from _fixes([rule.fix, *rule.alternatives])
    if rule.script is not None and rule.script.fix is not None:
        yield "In a script:"
        yield from _fixes([rule.script.fix, *rule.script.alternatives])


def _fixes(fixes: Sequence[FixTemplate]) -> Iterator[str]:
    for fix in fixes:
        if fix.title:
            title = _flat(readable(fix.title))
            yield f"### {title[:1].upper()}{title[1:]}"
        yield _SAFETY[fix.applicability]
        yield readable(fix.description)
        if fix.trade_off:
            yield f"Trade-off: {_flat(readable(fix.trade_off))}"
        if fix.when:
            yield f"Offered where `{_flat(fix.when)}`."
        if fix.change:
            yield "\n".join(f"- {_change(change)}" for change in fix.change)
        if fix.edit is not None:
            yield f"The edit `{fix.edit}`: {EDITS[fix.edit]}."


def _change(change: Change) -> str:
    """What one change does, as a sentence of a list."""
    words = _done(change)
    return f"{words}, where `{_flat(change.when)}`." if change.when else f"{words}."


def _done(change: Change) -> str:
    match change.kind:
        case OperationKind.SET_ARGUMENT:
            value = "" if change.value is None else _flat(expression_text(change.value))
            return f"Builds `{change.of}` with `{change.argument}` set to `{value}`"
        case OperationKind.REPLACE_LAYER:
            return f"Replaces `{change.of}` by {_built(change)}"
        case OperationKind.REMOVE_LAYER:
            return f"Removes `{change.of}`"
        case OperationKind.SWAP_LAYERS:
            return f"Lets `{change.of}` and `{change.other}` change places"
        case OperationKind.INSERT_LAYER:
            return f"Runs {_built(change)} on what `{change.of}` gives"
        case OperationKind.SEPARATE_LAYERS:
            return f"Builds a layer of its own for every place where `{change.of}` runs"
        case OperationKind.WRAP_LAYER:
            return f"Puts {_built(change)} around `{change.of}`"
        case OperationKind.USE_FUNCTION:
            return f"Calls `{_flat(change.layer or '')}` in place of the operations that end in `{change.of}`"


def _built(change: Change) -> str:
    arguments = ", ".join(f"{name}={_flat(expression_text(value))}" for name, value in change.arguments.items())
    return f"`{_flat(change.layer or '')}({arguments})`"


def _flat(text: str) -> str:
    """Text on one line."""
    return " ".join(text.split())
