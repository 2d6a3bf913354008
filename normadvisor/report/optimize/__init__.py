"""What came of optimizing models, for people: at a terminal, in Markdown, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.report.clean import encodable
from normadvisor.report.options import RenderOptions
from normadvisor.types import Report

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["html_optimize", "markdown_optimize", "render_optimize"]


def render_optimize(report: Report, options: RenderOptions) -> str:
    """Tables of all models that were optimized, then what could not be, as text that ends with a line feed.

    Args:
        report: with ``optimizations``, one entry per model.
        options: width, colours and encoding as for the other formats.

    """
    from normadvisor.report.optimize.text import blocks  # noqa: PLC0415 - rich is loaded when there is something to print
    from normadvisor.report.printer import columns, printed  # noqa: PLC0415 - as above

    return encodable(printed(blocks(report, options, columns(options)), options), options.encoding)


def markdown_optimize(report: Report, options: RenderOptions) -> str:
    """The same in Markdown."""
    from normadvisor.report.optimize.markdown import rendered  # noqa: PLC0415 - as above

    return rendered(report, options)


def html_optimize(report: Report, *, root: Path) -> str:
    """The same as one HTML file that needs no other.

    Args:
        report: with ``optimizations``, one entry per model.
        root: paths below this folder are shown relative to it.

    """
    from normadvisor.report.html.page import rendered  # noqa: PLC0415 - jinja2 is loaded when there is a page to make
    from normadvisor.report.optimize.sheet import sheet_of  # noqa: PLC0415 - as above

    return rendered("optimize.html.j2", report, root=root, sheets=[sheet_of(each) for each in report.optimizations])
