"""Other contents for files: what a file would hold after an edit, before anything is written.

While an overlay is set, :func:`normadvisor.files.source.read_bytes` gives its bytes, and
:func:`normadvisor.targets.overlay.importing_overlaid` lets Python import them. It holds for the whole process, all threads included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

__all__ = ["overlaid", "overlay_number", "overlay_of", "overlay_paths", "set_overlay"]


@dataclass(frozen=True, slots=True)
class _Overlay:
    """Contents by resolved path, and a number that no other overlay has."""

    contents: Mapping[Path, bytes] = field(default_factory=dict)
    number: int = 0


_numbers = count(1)
_NONE = _Overlay()
_current = _NONE


def _made(contents: Mapping[Path, bytes]) -> _Overlay:
    return _Overlay(contents, next(_numbers)) if contents else _NONE


def set_overlay(contents: Mapping[Path, bytes]) -> None:
    """Give files these contents from now on, and all others those they have on the disk.

    Args:
        contents: bytes by path; paths are resolved, so that every spelling of a file and every link to it means the same.

    """
    global _current  # noqa: PLW0603 - replaced in one step: other threads see the old or the new one
    _current = _made({path.resolve(): data for path, data in contents.items()})


@contextmanager
def overlaid(contents: Mapping[Path, bytes]) -> Iterator[None]:
    """Give files these contents within the ``with`` block; those of an overlay around it hold on where this one says nothing."""
    global _current  # noqa: PLW0603
    before = _current
    _current = _made({**before.contents, **{path.resolve(): data for path, data in contents.items()}})
    try:
        yield
    finally:
        _current = before


def overlay_of(path: Path | str) -> bytes | None:
    """What the overlay says that a file holds; ``None`` where it says nothing."""
    contents = _current.contents
    if not contents:
        return None
    try:
        return contents.get(Path(path).resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links, or no path at all, such as "<string>" with a NUL
        return None


def overlay_paths() -> frozenset[Path]:
    """The files of the overlay, resolved."""
    return frozenset(_current.contents)


def overlay_number() -> int:
    """Tells one overlay from another, for what keeps things it learnt from files; 0 while there is none."""
    return _current.number
