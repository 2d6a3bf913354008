"""Severities as arguments."""

from __future__ import annotations

from normadvisor.errors import UsageError
from normadvisor.types import Severity

__all__ = ["severity"]


def severity(text: str | None, argument: str) -> Severity | None:
    """The severity that ``text`` names; ``None`` stays.

    Raises:
        UsageError: it names none.

    """
    if text is None:
        return None
    if text not in tuple(Severity):
        raise UsageError(f"{argument} is {text!r}", hint="write 'info', 'warning' or 'error'")
    return Severity(text)
