"""The nearest right spelling of a wrong word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["closest", "did_you_mean", "quoted_list"]

_CUTOFF = 0.6
"""Similarity (0 to 1) below which a suggestion would puzzle more than help; the customary default of ``difflib``."""


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``word``, letter case and the choice of ``-`` or ``_`` aside; ``None`` when none is alike."""
    import difflib  # noqa: PLC0415 - only wrong words need it

    spellings = {_plain(candidate): candidate for candidate in candidates}
    # Similarity is quadratic in length: a word a hundred letters long is no misspelling of a key.
    found = difflib.get_close_matches(_plain(word[:100]), spellings, n=1, cutoff=_CUTOFF)
    return spellings[found[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A hint for an error: the nearest candidate, or all of them when none is near."""
    names = list(candidates)
    nearest = closest(word, names)
    return f"did you mean '{nearest}'?" if nearest else f"known are {quoted_list(names)}"


def quoted_list(names: Iterable[str]) -> str:
    """``'a', 'b', 'c'``."""
    return ", ".join(f"'{name}'" for name in names)


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")
