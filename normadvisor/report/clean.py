"""Make any text fit to print: messages and paths come from code nobody has vetted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["can_draw", "encodable", "finite", "one_line", "printable", "short", "without_surrogates"]

# Control characters could drive the terminal, bidirectional overrides could make code read differently from what it is, and lone
# surrogates (from undecodable file names) cannot be written at all.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ASCII = str.maketrans(
    {
        "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2026": "...", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
        "\u00d7": "x", "\u2264": "<=", "\u2265": ">=", "\u2248": "~", "\u2192": "->", "\u00b7": "*", "\u00a0": " ",
    }
)  # fmt: skip


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def printable(text: str) -> str:
    """``text`` with control characters, bidirectional overrides and lone surrogates written as escapes."""
    return _UNPRINTABLE.sub(_escaped, text)


def one_line(text: str) -> str:
    """``text`` on one printable line: every run of white space becomes one space."""
    return printable(" ".join(text.split()))


def without_surrogates(text: str) -> str:
    """``text`` with lone surrogates written as escapes, so that it can be encoded."""
    return _SURROGATE.sub(_escaped, text)


def can_draw(encoding: str) -> bool:
    """Whether a stream of this encoding can hold the lines and dots of the text format."""
    try:
        "\u2502\u2026".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def encodable(text: str, encoding: str) -> str:
    """``text`` with what ``encoding`` cannot hold replaced by its nearest ASCII, or by escapes."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = "".join(char if _holds(encoding, char) else char.translate(_ASCII) for char in text)
        return plain.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return text


def _holds(encoding: str, char: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def short(value: Any) -> str:
    """An evidence value as a person reads it: four significant digits, lists joined by commas, lists in them in brackets."""
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case str():
            return one_line(value)
        case Mapping():
            return ", ".join(f"{one_line(str(key))} {short(item)}" for key, item in value.items())
        case Sequence():
            return ", ".join(f"[{short(item)}]" if _is_list(item) else short(item) for item in value)
        case _:
            return one_line(str(value))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def finite(value: Any) -> Any:
    """A JSON value with infinities and NaN, which JSON cannot hold, written as the words ``inf``, ``-inf`` and ``nan``."""
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(key): finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value
