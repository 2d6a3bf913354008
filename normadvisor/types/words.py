"""The nearest right spelling, for hints in messages."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["nearest"]

_SHORT = 3


def nearest(word: str, known: Iterable[str]) -> str | None:
    """``did you mean 'x'?`` for the known word that is most like ``word``; ``None`` when nothing is near.

    Args:
        word: what was written; only its first 80 characters are compared.
        known: the right spellings.

    """
    from difflib import get_close_matches  # noqa: PLC0415 - only wrong words need it

    given = word[:80].casefold()
    # One wrong letter of two or three is half of the likeness there is.
    cutoff = 0.5 if len(given) <= _SHORT else 0.6
    spellings = {item.casefold(): item for item in known}
    close = get_close_matches(given, spellings, n=1, cutoff=cutoff)
    return f"did you mean '{spellings[close[0]]}'?" if close else None
