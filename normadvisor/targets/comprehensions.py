"""Comprehensions on the stack: a frame of their own up to Python 3.11, part of the function around them from 3.12 on (PEP 709).

Sites are told as 3.12 sees them, so that one model gives one report whatever Python checks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType

__all__ = ["function_of", "is_comprehension"]

_NAMES = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>"})


def is_comprehension(code: CodeType) -> bool:
    """Whether code is the body of a list, set or dict comprehension; the next frame out is then evaluating it."""
    return code.co_name in _NAMES


def function_of(code: CodeType) -> str:
    """Qualified name of the function that code belongs to, comprehensions counted as part of theirs."""
    if not is_comprehension(code):
        return code.co_qualname
    parts = code.co_qualname.split(".")
    while parts and parts[-1] in _NAMES:
        parts.pop()
    if parts and parts[-1] == "<locals>":
        parts.pop()
    return ".".join(parts) or "<module>"
