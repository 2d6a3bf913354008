"""The nearest right spelling, for hints in messages."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["nearest"]

_SHORT = 3
_TIED = 8


def nearest(word: str, known: Iterable[str]) -> str | None:
    """``did you mean 'x'?`` for the known word that is most like ``word``; ``None`` when nothing is near.

    Args:
        word: what was written; only its first 80 characters are compared.
        known: the right spellings.

    """
    from difflib import SequenceMatcher, get_close_matches  # noqa: PLC0415 - only wrong words need it

    given = word[:80].casefold()
    # One wrong letter of two or three is half of the likeness there is.
    cutoff = 0.5 if len(given) <= _SHORT else 0.6
    spellings = {item.casefold(): item for item in known}
    close = get_close_matches(given, spellings, n=_TIED, cutoff=cutoff)
    if not close:
        return None
    likeness = {item: SequenceMatcher(None, item, given).ratio() for item in close}
    # Of equally near ones that with the most letters in their place: NA103 for NA1O3, not NA613.
    best = max(close, key=lambda item: (likeness[item], sum(map(str.__eq__, item, given))))
    return f"did you mean '{spellings[best]}'?"
