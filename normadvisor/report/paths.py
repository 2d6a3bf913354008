"""Paths as a reader, and as a machine, wants them."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from urllib.parse import quote

from normadvisor.types import Finding, Location, Related

__all__ = ["is_inside", "place", "place_of", "place_of_finding", "place_of_related", "shown", "uri"]


def shown(path: str, root: Path) -> str:
    """``path`` relative to ``root`` where it stands below it, else as it is; with forward slashes."""
    pure = PurePath(path)
    if pure.is_absolute() and pure.is_relative_to(root):
        pure = pure.relative_to(root)
    return pure.as_posix()


def is_inside(path: str, root: Path) -> bool:
    """Whether ``path`` is shown relative to ``root``."""
    return not PurePath(shown(path, root)).is_absolute()


def place(path: str, line: int | None, column: int | None, root: Path, cell: int | None = None) -> str:
    """``path:line:column``, as much of it as is known; in a notebook ``path:cell 3:line:column``."""
    inside = [] if cell is None else [f"cell {cell}"]
    return ":".join([shown(path, root), *inside, *(str(number) for number in (line, column if line else None) if number is not None)])


def place_of(location: Location, root: Path) -> str:
    """``path:line:column`` of a location."""
    return place(location.path, location.line, location.column, root, location.cell)


def place_of_finding(finding: Finding, root: Path) -> str:
    """``path:line:column`` of a finding; the model where it has no place."""
    if finding.path is None:
        return finding.model or "model"
    return place(finding.path, finding.line, finding.column, root, finding.cell)


def place_of_related(related: Related, root: Path) -> str:
    """``path:line`` of a further place."""
    return place(related.path, related.line, None, root, related.cell)


def uri(path: str, root: Path) -> str:
    """A URI reference: relative to ``root`` where ``path`` stands below it, else ``file:///...``; undecodable bytes are kept."""
    text = shown(path, root)
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:  # a lone surrogate that does not stand for a byte
        raw = text.encode("utf-8", "replace")
    reference = quote(raw, safe="/")
    if PurePath(text).is_absolute():
        return f"file://{reference}" if reference.startswith("/") else f"file:///{reference}"
    return reference
