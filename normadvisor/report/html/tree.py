"""The tree of a model's modules with the health of its layers, which opens and closes without a script."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normadvisor.report.clean import one_line
from normadvisor.report.html.axes import fixed
from normadvisor.report.html.markup import EMPTY, joined, tag
from normadvisor.report.measured.health import Health
from normadvisor.report.measured.numbers import Band, amount, band, decades, number, superscript
from normadvisor.report.tally import counted
from normadvisor.types import LayerMeasurements, Severity

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Tree", "breakable", "icon", "module_tree", "shortened"]

DEEPEST = 24
"""Parts of a name beyond which the rest is one part: no model nests deeper on purpose."""
MOST_OPEN = 40
"""Layers that are shown without opening anything."""
FEW = 3
"""Modules at the top of which all are shown open: they alone would tell nothing."""
MOST_LAYERS = 3000
KEY = "grad_rms"


@dataclass(slots=True)
class _Node:
    name: str
    layer: LayerMeasurements | None = None
    children: dict[str, _Node] = field(default_factory=dict)

    def layers(self) -> Iterator[LayerMeasurements]:
        """The node's own layer and those below it."""
        if self.layer is not None:
            yield self.layer
        for child in self.children.values():
            yield from child.layers()


@dataclass(frozen=True, slots=True)
class Tree:
    """A finished tree."""

    markup: Markup
    low: str
    """Ends of the tracks beside the layers."""
    high: str
    left_out: int
    """Layers that are too many to be shown."""


def icon(severity: Severity | None) -> Markup:
    """A mark whose shape says the severity as well as its colour does."""
    name = severity.value if severity else "well"
    return tag("svg", tag("use", href=f"#i-{name}"), class_=f"icon {name}", role="img", aria_label=name if severity else "no finding")


def shortened(name: str, most: int = 90) -> str:
    """A name on one line; the middle of a very long one is left out."""
    line = one_line(name)
    return line if len(line) <= most else f"{line[: most // 3]}\u2026{line[len(line) - most + most // 3 + 1 :]}"


def breakable(name: str) -> Markup:
    """The name of a layer that a line may break at its dots."""
    first, *rest = (shortened(name) or "the model itself").split(".")
    return joined(first, *(joined(".", tag("wbr"), part) for part in rest))


def module_tree(layers: Sequence[LayerMeasurements], health: Health) -> Tree:
    """Layers by the parts of their names, in order of execution."""
    shown = layers[:MOST_LAYERS]
    root = _Node("")
    for layer in shown:
        node = root
        parts = layer.name.split(".") if layer.name else []
        for part in [*parts[: DEEPEST - 1], *([".".join(parts[DEEPEST - 1 :])] if len(parts) >= DEEPEST else [])]:
            node = node.children.setdefault(part, _Node(part))
        node.layer = layer
    low, high = decades(band(layer.series.get(KEY, ())) for layer in shown)
    writer = _Writer(health, low, high, sum(health.severity(layer.name) is not None for layer in shown))
    own = [writer.leaf(root, "the model itself")] if root.layer is not None else []
    everything = len(shown) <= MOST_OPEN
    items = [writer.item(child, everything=everything, outer=len(root.children) <= FEW) for child in root.children.values()]
    markup = tag("ul", *own, *items, class_="tree") if shown else EMPTY
    return Tree(markup, superscript(low), superscript(high), len(layers) - len(shown))


@dataclass(frozen=True, slots=True)
class _Writer:
    health: Health
    low: int
    high: int
    marked: int

    def item(self, node: _Node, *, everything: bool, outer: bool = False) -> Markup:
        """A module, with the modules in it below."""
        name = node.name
        while node.layer is None and len(node.children) == 1:
            (node,) = node.children.values()
            name += f".{node.name}"
        if not node.children:
            return self.leaf(node, name)
        inside = list(node.layers())
        severities = [severity for layer in inside if (severity := self.health.severity(layer.name)) is not None]
        worst = max(severities, key=lambda severity: severity.rank, default=None)
        is_open = everything or outer or (worst not in {None, Severity.INFO} and self.marked <= MOST_OPEN)
        said = f", {len(severities)} with findings" if severities else ""
        size = amount(sum(layer.parameters for layer in inside))
        summary = tag(
            "summary", icon(worst), tag("bdi", shortened(name), class_="name"), " ",
            tag("span", f"{counted(len(inside), 'layer')}{said}", class_="cls"), tag("span", size, class_="size"),
        )  # fmt: skip
        own = [self.leaf(node, "itself")] if node.layer is not None else []
        children = [self.item(child, everything=everything) for child in node.children.values()]
        return tag("li", tag("details", summary, tag("ul", *own, *children), open="" if is_open else None))

    def leaf(self, node: _Node, name: str) -> Markup:
        """A layer: mark, name, class, where its gradient stands among the others', parameters."""
        layer = node.layer
        if layer is None:
            return EMPTY
        severity = self.health.severity(layer.name)
        size = amount(layer.parameters) if layer.parameters else ""
        return tag(
            "li",
            tag(
                "div", icon(severity), tag("bdi", shortened(name), class_="name"), " ", tag("span", shortened(layer.cls, 40), class_="cls"),
                self._track(layer, severity), tag("span", size, class_="size"), class_="leaf",
            ),
        )  # fmt: skip

    def _track(self, layer: LayerMeasurements, severity: Severity | None) -> Markup:
        found = band(layer.series.get(KEY, ()))
        if found.middle is None:
            return tag("span", _instead(layer, found), class_="track words")
        at = 100 * (math.log10(found.middle) - self.low) / (self.high - self.low)
        dot = tag("circle", class_=severity.value if severity else "well", cx=f"{fixed(at)}%", cy=6, r=4)
        return tag("svg", tag("title", number(found.middle)), tag("path", d="M0 6h96"), dot, class_="track", width=96, height=12)




def _instead(layer: LayerMeasurements, found: Band) -> str:
    """Why a layer has no gradient to show."""
    if found.broken:
        return "not finite"
    if found.zero:
        return "zero"
    if isinstance(tied := layer.facts.get("tied"), str):
        return f"tied to {shortened(tied, 30)}"
    return "frozen" if layer.parameters and not layer.trainable else ""
