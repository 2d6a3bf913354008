"""What lines are written on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from normadvisor.report.clean import can_draw
from normadvisor.report.options import RenderOptions

__all__ = ["Paper"]


class Paper:
    """What lines are written on: a width, and characters that the reader's encoding can hold."""

    def __init__(self, options: RenderOptions, width: int) -> None:
        self.width = width
        self.unicode = can_draw(options.encoding) and _can_draw_blocks(options.encoding)
        self._console = Console(width=width, _environ={})

    def wrapped(self, text: Text, indent: int = 0) -> list[Text]:
        """Lines of at most the width."""
        lines = text.wrap(self._console, max(20, self.width - indent))
        for line in lines:
            line.rstrip()
        return [Text.assemble(" " * indent, line) for line in lines]

    def pairs(self, rows: Sequence[tuple[str, Text]]) -> list[Text]:
        """A label and a text per row, texts one below the other and wrapped within their column."""
        column = min(36, self.width - 24, max((cell_len(label) for label, _text in rows), default=0)) + 2
        lines = []
        for label, text in rows:
            found = self.wrapped(text, column) or [Text()]
            if cell_len(label) + 2 > column:
                lines.append(Text(label, style="dim"))
            else:
                found[0] = Text.assemble((f"{label:<{column}}", "dim"), found[0][column:])
            lines += found
        return lines


def _can_draw_blocks(encoding: str) -> bool:
    try:
        "\u2581\u2588\u28ff".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
