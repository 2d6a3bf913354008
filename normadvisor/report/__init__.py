"""Reports in every format the command line offers.

A format is one module ``formats/<name>_format.py`` with a function ``render``; putting it there is all it takes to offer it. The
modules, and the libraries they need, are imported when a report is rendered and not before.
"""

from __future__ import annotations

from normadvisor.report.options import RenderOptions
from normadvisor.report.registry import format_names, render

__all__ = ["RenderOptions", "format_names", "render"]
