"""Where a finding points: the construction of a layer or the call of a function, in the user's own files when possible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from normadvisor.graph.model import ModelGraph, ModuleInfo, NodeInfo
from normadvisor.types import Frame, Related, Site

__all__ = ["Place", "Places"]

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_MOST_OUTER = 4
"""Outer frames shown at most."""


@dataclass(frozen=True, slots=True)
class Place:
    """The frame a finding points at, and the frames that led there."""

    frame: Frame
    outer: tuple[Frame, ...]
    """Frames around it, inner to outer, of the user's files."""
    built: bool
    """Whether a module is constructed here, rather than a function called."""
    own: bool
    """Whether the file lies under the root of the target."""

    def called_from(self) -> list[Related]:
        """The calls that led to a helper or loop, nearest first."""
        lines = dict.fromkeys((frame.location.path, frame.location.line) for frame in self.outer)
        lines.pop((self.frame.location.path, self.frame.location.line), None)
        return [Related(path, line, "called from here") for path, line in list(lines)[:_MOST_OUTER]]


class Places:
    """Places in one graph.

    Args:
        graph: the model.
        root: folder or file of the target; frames in files under it are preferred, installed packages inside it are not.

    """

    def __init__(self, graph: ModelGraph, root: Path) -> None:
        self._graph = graph
        self._root = root.resolve()
        self._own: dict[str, bool] = {}

    def is_own(self, path: str) -> bool:
        """Whether a file lies under the root and not in a package installed there."""
        if path not in self._own:
            try:
                inner = Path(path).resolve().relative_to(self._root)
            except (ValueError, OSError):
                self._own[path] = False
            else:
                self._own[path] = _INSTALLED.isdisjoint(inner.parts)
        return self._own[path]

    def of_site(self, site: Site | None, *, built: bool) -> Place | None:
        """The innermost frame under the root, else the innermost of all; ``None`` without a site."""
        if site is None or not site.frames:
            return None
        chosen = next((position for position, frame in enumerate(site.frames) if self.is_own(frame.location.path)), None)
        outer = site.frames[(chosen or 0) + 1 :]
        own = chosen is not None
        return Place(site.frames[chosen or 0], tuple(frame for frame in outer if not own or self.is_own(frame.location.path)), built, own)

    def of(self, item: NodeInfo | ModuleInfo) -> Place | None:
        """Where a module was built or a function called; whichever is known."""
        if isinstance(item, ModuleInfo):
            return self.of_site(item.site, built=True)
        module = self._graph.modules.get(item.module)
        constructed = self.of_site(module.site, built=True) if module is not None else None
        called = self.of_site(item.call_site, built=False)
        return (constructed or called) if item.cls else (called or constructed)

    def of_model(self) -> Place | None:
        """Where the model's class or factory is defined."""
        return self.of_site(self._graph.site, built=False)

    def forward_call(self, item: NodeInfo | ModuleInfo, place: Place) -> Iterator[Related]:
        """The line of ``forward`` that uses a layer, unless the finding points there already."""
        if isinstance(item, ModuleInfo):
            return
        called = self.of_site(item.call_site, built=False)
        if called is not None:
            location = called.frame.location
            if (location.path, location.line) != (place.frame.location.path, place.frame.location.line):
                yield Related(location.path, location.line, "used in forward here")
