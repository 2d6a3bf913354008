"""Elements of HTML and SVG, with everything that is put into them escaped."""

from __future__ import annotations

from markupsafe import Markup

from normadvisor.report.clean import one_line

__all__ = ["EMPTY", "joined", "path", "tag", "text"]

EMPTY = Markup("")
_ATTRIBUTE = Markup(' {}="{}"')
_ALONE = Markup("<{}{}/>")
_AROUND = Markup("<{0}{1}>{2}</{0}>")


def tag(name: str, *children: str, **attributes: str | int | None) -> Markup:
    """An element; ``class_`` stands for ``class`` and ``aria_label`` for ``aria-label``. Attributes that are ``None`` are left out."""
    pairs = joined(
        *(_ATTRIBUTE.format(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    )
    return _AROUND.format(name, pairs, joined(*children)) if children else _ALONE.format(name, pairs)


def joined(*pieces: str) -> Markup:
    """Pieces one after the other, escaped where they are plain text."""
    return EMPTY.join(pieces)


def path(cls: str, data: str) -> Markup:
    """A shape; nothing where there is nothing to draw."""
    return tag("path", class_=cls, d=data) if data else EMPTY


def text(words: str, x: str, y: str | int, cls: str, *, anchor: str | None = None) -> Markup:
    """A label at a place of a picture, e.g. ``x="12%"``."""
    return tag("text", one_line(words), class_=cls, x=x, y=y, text_anchor=anchor)
