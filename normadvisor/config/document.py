"""A TOML file read from disk: its values, and where they stand."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from normadvisor.config.positions import KeyPath, key_positions
from normadvisor.errors import ConfigError
from normadvisor.types import Location

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Document", "read_document"]

_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_LARGEST_FILE = 16 << 20
"""Bytes; a configuration is never that long, but a path given by mistake (a checkpoint) may be."""


@dataclass(frozen=True)
class Document:
    """A valid TOML file."""

    path: Path
    text: str
    data: dict[str, Any]

    @cached_property
    def _positions(self) -> dict[KeyPath, tuple[int, int]]:
        return key_positions(self.text)

    def locate(self, *keys: str | int) -> Location:
        """Place of a key or list element; of the nearest table around it when it has none of its own."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self._positions:
                return Location(shown(self.path), *self._positions[keys[:end]])
        return Location(shown(self.path), 1, 1)


def read_document(path: Path) -> Document:
    """Read and parse a TOML file in UTF-8, with or without a byte order mark.

    Raises:
        ConfigError: the file is missing, unreadable, too long, not UTF-8, or not TOML; with the place of the mistake.

    """
    text = _decoded(path, _content(path))
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ConfigError("brackets are nested too deeply", location=Location(shown(path), 1)) from None
    except ValueError as error:
        # Beside TOMLDecodeError: numbers too long for Python to read.
        message, place = _split(path, text, str(error))
        raise ConfigError(f"not valid TOML: {message}", location=place) from None
    return Document(path, text, data)


def shown(path: Path) -> str:
    """A path as messages show it: relative when it lies below the current folder."""
    absolute, here = os.path.abspath(path), os.getcwd()  # noqa: PTH100, PTH109 - links stay as the user wrote them
    return os.path.relpath(absolute, here) if absolute.startswith(here.rstrip(os.sep) + os.sep) else absolute


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file '{path}'", hint="check the path given with --config") from None
    except IsADirectoryError:
        raise ConfigError(f"'{path}' is a folder", hint="name the configuration file in it") from None
    except (OSError, ValueError) as error:
        # ValueError: the path holds a NUL character.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"the configuration file {str(path)!r} cannot be read: {reason.lower()}") from None
    if len(content) > _LARGEST_FILE:
        raise ConfigError(f"'{path}' is longer than {_LARGEST_FILE >> 20} MiB and no configuration file")
    return content


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        start = before.rfind(b"\n") + 1
        place = Location(shown(path), before.count(b"\n") + 1, len(before[start:].decode("utf-8", "replace")) + 1)
        byte = error.object[error.start]
        raise ConfigError(f"not UTF-8: byte 0x{byte:02x}", location=place, hint="save the file in UTF-8") from None


def _split(path: Path, text: str, message: str) -> tuple[str, Location]:
    """``tomllib``'s words, and the place it appends to them."""
    found = _PLACE.search(message)
    words = _PLACE.sub("", message)
    words = words[:1].lower() + words[1:]
    if found is None:
        return words, Location(shown(path), 1)
    if found["line"] is None:
        lines = text.split("\n")
        return f"{words} at the end of the file", Location(shown(path), len(lines), len(lines[-1]) + 1)
    return words, Location(shown(path), int(found["line"]), int(found["column"]))
