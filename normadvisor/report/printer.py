"""Blocks of rich text as plain text, with colours where they are wanted."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from normadvisor.report.options import NARROWEST, RenderOptions

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["columns", "printed"]


def columns(options: RenderOptions) -> int:
    """Width that blocks are to be made for."""
    return max(NARROWEST, options.width)


def printed(blocks: Iterable[Iterable[Text]], options: RenderOptions) -> str:
    """The blocks one after the other with an empty line between; lines are as long as they were made."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=options.color,
        color_system="standard" if options.color else None,
        no_color=not options.color,
        width=columns(options),
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    )
    for index, block in enumerate(blocks):
        if index:
            console.print()
        for line in block:
            console.print(line, soft_wrap=True)
    return buffer.getvalue()
