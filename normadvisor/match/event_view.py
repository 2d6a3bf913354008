"""Events as expressions of rules see them: their attributes, and words for messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from normadvisor.types.events import REASONS

if TYPE_CHECKING:
    from normadvisor.script.events import Event

__all__ = ["EventView", "view_of"]

_LAYERS = ("layers", "norm_layers")
"""Attributes that list layers: ``BatchNorm2d at net.py:14``."""
_FOLDERS = re.compile(r" at .*[/\\](?=[^/\\]+$)")


class EventView(dict[str, Any]):
    """An event in expressions; as text it is its source."""

    def __str__(self) -> str:
        return str(self["text"])


def view_of(event: Event) -> EventView:
    """What expressions see of an event; layers are named once each, by file and line without the folders of this machine."""
    view = EventView(event.attributes, op=event.kind, text=event.text, places=list(event.places))
    held: list[str] = []
    for key in _LAYERS:
        layers = view.get(key)
        if isinstance(layers, list | tuple):
            view[key] = list(dict.fromkeys(_FOLDERS.sub(" at ", layer) if isinstance(layer, str) else layer for layer in layers))
            held = held or [layer for layer in view[key] if isinstance(layer, str)]
    batchnorm = [layer for layer in held if "BatchNorm" in layer]
    rest = [layer for layer in held if "BatchNorm" not in layer]
    view["some_layers"] = _few(held, [*batchnorm[:1], *rest[:1]])
    view["batchnorm_layers"] = _few(batchnorm, batchnorm[:1])
    view["other_layers"] = _few(rest, rest[:1])
    view["reason"] = REASONS.get(str(event.attributes.get("deliberate")))
    return view


def _few(layers: Sequence[str], named: Sequence[str]) -> str | None:
    """Some layers, and how many more there are: ``BatchNorm2d at net.py:14 and 3 more``."""
    if not named:
        return None
    more = len(layers) - len(named)
    return f"{', '.join(named)} and {more} more" if more else " and ".join(named)
