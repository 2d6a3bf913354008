"""What rules ask of the operations of a model, as far as finding it out takes time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from normadvisor.rulebook.model import Rule

__all__ = ["read_written"]

_WRITTEN = re.compile(r"\.(?:computes|obstacle|operations|function|permuted)\b")
_WORDS = frozenset({"why", "summary", "references", "examples", "exempt"})
"""Fields that say something to people and are never evaluated."""


def read_written(rules: Iterable[Rule]) -> bool:
    """Whether any of the rules asks what is computed by hand: one of the attributes ``computes``, ``function`` ... of an operation."""
    return any(rule.scope == "graph" and _mentions(rule) for rule in rules)


def _mentions(value: Any) -> bool:
    if isinstance(value, str):
        return _WRITTEN.search(value) is not None
    if isinstance(value, dict):
        return any(_mentions(member) for member in value.values())
    if is_dataclass(value):
        return any(_mentions(getattr(value, field.name)) for field in fields(value) if field.name not in _WORDS)
    return isinstance(value, list | tuple) and any(_mentions(member) for member in value)
