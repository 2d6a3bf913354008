"""Which values of a rule a script can have."""

from __future__ import annotations

import re

from normadvisor.rulebook.model import Rule

__all__ = ["of_graph"]

_WORD = re.compile(r"[A-Za-z_]\w*")


def of_graph(rule: Rule) -> frozenset[str]:
    """Values of ``define.values`` that need the traced model, which a script does not have."""
    found: set[str] = set()
    for name, text in rule.define.values.items():
        words = set(_WORD.findall(text))
        if "model" in words or "count" in words or words & found:
            found.add(name)
    return frozenset(found)
