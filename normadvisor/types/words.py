"""The nearest right spelling, for hints in messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["nearest"]


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """``did you mean 'x'?`` for the known word that is most like ``word``; ``None`` when nothing is near.

    Args:
        word: what was written; only its first 80 characters are compared.
        known: the right spellings.
        cutoff: least similarity, from 0 to 1, as :func:`difflib.get_close_matches` takes it.

    """
    given = word[:80].casefold()
    spellings = {item.casefold(): item for item in known}
    close = get_close_matches(given, spellings, n=1, cutoff=cutoff)
    return f"did you mean '{spellings[close[0]]}'?" if close else None
