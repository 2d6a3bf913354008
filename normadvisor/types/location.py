"""Places in source files."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Frame", "Location", "Related", "Site"]


@dataclass(frozen=True, slots=True)
class Location:
    """A span of source text. Lines and columns are 1-based; columns count Unicode code points; ends are exclusive.

    In a notebook ``cell`` is the number of the cell, 1-based with text cells counted, and lines count within the cell.
    """

    path: str
    line: int
    column: int = 1
    end_line: int | None = None
    end_column: int | None = None
    cell: int | None = None

    def __str__(self) -> str:
        """``path:line:column``, clickable in terminals and editors; in a notebook ``path:cell 3:line:column``."""
        cell = "" if self.cell is None else f"cell {self.cell}:"
        return f"{self.path}:{cell}{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that explains a finding, such as the forward call of a layer built elsewhere."""

    path: str
    line: int
    message: str
    cell: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One user frame on the way to a constructor or a call: the exact span of the expression being evaluated."""

    location: Location
    function: str
    """Qualified name of the enclosing function, e.g. ``ResNet._make_layer`` or ``<module>``."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a module was constructed or an operation called.

    ``frames`` holds the user's frames (nothing of torch or of this package), innermost first, never empty. A module built by a
    helper inside a loop has the helper's line first and the caller's after it.
    """

    frames: tuple[Frame, ...]

    @property
    def location(self) -> Location:
        """The innermost user span."""
        return self.frames[0].location
