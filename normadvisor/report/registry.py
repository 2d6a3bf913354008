"""Which formats there are, and the way to them."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

from normadvisor.errors import UsageError
from normadvisor.report import formats
from normadvisor.report.clean import encodable

if TYPE_CHECKING:
    from normadvisor.report.options import RenderOptions
    from normadvisor.types import Report

__all__ = ["format_names", "render"]

SUFFIX = "_format"


class Format(Protocol):
    """A module of :mod:`normadvisor.report.formats`."""

    def render(self, report: Report, options: RenderOptions) -> str:
        """The report as text that ends with a line feed."""


@cache
def format_names() -> tuple[str, ...]:
    """Names of the formats, ``text`` first, without importing any of them."""
    names = (module.name.removesuffix(SUFFIX) for module in pkgutil.iter_modules(formats.__path__) if module.name.endswith(SUFFIX))
    return tuple(sorted(names, key=lambda name: (name != "text", name)))


def render(report: Report, format: str, *, options: RenderOptions) -> str:  # noqa: A002 - the word users know
    """Render ``report`` in one of :func:`format_names`.

    The result ends with a line feed and can be encoded in ``options.encoding``.

    Raises:
        UsageError: there is no such format.

    """
    if format not in format_names():
        from normadvisor.config.suggest import did_you_mean  # noqa: PLC0415 - only errors need it

        raise UsageError(f"unknown format '{format}'", hint=did_you_mean(format, format_names()))
    module = cast("Format", importlib.import_module(f"{formats.__name__}.{format}{SUFFIX}"))
    return encodable(module.render(report, options), options.encoding)
