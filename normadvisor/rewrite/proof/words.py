"""What went wrong, in whole sentences."""

from __future__ import annotations

import re

__all__ = ["told"]

_MOST = 200
"""Characters after which no further sentence is begun."""
_END = re.compile(r"(?<=[.!?;])\s+(?=[A-Z\[(`'\"])")


def told(error: BaseException) -> str:
    """Type and message of an error on one line; of long messages the first sentences, none of them cut."""
    text = " ".join(str(error).split())
    if not text:
        return type(error).__name__
    first, *rest = _END.split(text)
    for sentence in rest:
        if len(first) + len(sentence) >= _MOST:
            break
        first += f" {sentence}"
    return f"{type(error).__name__}: {_shortened(first)}"


def _shortened(sentence: str) -> str:
    """A sentence that is no sentence but a listing loses its end, between two words and visibly."""
    if len(sentence) <= 2 * _MOST:
        return sentence
    return f"{sentence[: 2 * _MOST].rpartition(' ')[0] or sentence[: 2 * _MOST]} ..."
