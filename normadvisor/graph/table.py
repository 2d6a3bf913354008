"""A graph as a table for people."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from normadvisor.graph.model import ModelGraph, NodeInfo
    from normadvisor.types import JSONValue, Site

__all__ = ["render_table"]

_HIDDEN = {"inplace", "requires_grad", "in_width", "out_width", "functional", "dims", "expected_dims", "axes", "handwritten"}
_DULL: dict[str, object] = {
    "padding_mode": "zeros", "groups": 1, "dilation": 1, "affine": True, "track_running_stats": True, "frozen": False,
    "ceil_mode": False, "count_include_pad": True, "training": True, "momentum": 0.1, "approximate": "none", "output_padding": 0,
    "keepdim": False, "padding": 0, "eps": 1e-5, "bias": True, "bidirectional": False, "dropout": 0.0, "stride": 1, "return_indices": False,
}  # fmt: skip

_WIDTHS = (("in_channels", "out_channels"), ("in_features", "out_features"))


def _short(attrs: Mapping[str, JSONValue]) -> str:
    """Attributes in one line, without those that have their usual value."""
    parts = []
    for taken, given in _WIDTHS:
        if taken in attrs and given in attrs:
            parts.append(f"{attrs[taken]}->{attrs[given]}")
            attrs = {key: value for key, value in attrs.items() if key not in {taken, given}}
    for key, value in attrs.items():
        if isinstance(value, list) and value and all(item == value[0] for item in value) and key != "normalized_shape":
            value = value[0]  # noqa: PLW2901 -- [3, 3] reads as 3
        if key in _HIDDEN or value is None or (key in _DULL and _DULL[key] == value):
            continue
        parts.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return " ".join(parts)


def _place(site: Site | None) -> str:
    if site is None:
        return ""
    where = site.location
    return f"{os.path.basename(where.path)}:{where.line}"  # noqa: PTH119 -- text, not a path to open


def _size(shape: tuple[int, ...] | None, dtype: str | None) -> str:
    """``2x3x8x8``, or with the dtype where it is not the usual one: ``2x16:int64``."""
    size = "?" if shape is None else "x".join(map(str, shape)) or "scalar"
    return size if dtype in {None, "float32"} else f"{size}:{dtype}"


def _row(node: NodeInfo, graph: ModelGraph) -> tuple[str, ...]:
    module = graph.modules.get(node.module)
    where = _place(module.site) if module is not None and node.cls else ""
    name = node.cls or node.target.removeprefix("torch.nn.functional.").removeprefix("torch.")
    inputs = ",".join(map(str, node.inputs))
    return (
        str(node.index), node.op, inputs, node.module, name, _size(node.shape, node.dtype), _short(node.attrs), where,
        _place(node.call_site),
    )  # fmt: skip


def render_table(graph: ModelGraph, width: int | None = None) -> str:
    """The nodes of ``graph`` as a text table ``width`` columns wide (as wide as it needs to be by default)."""
    table = Table(title=f"{graph.target} ({graph.trace}, {graph.mode} mode)", title_justify="left", box=None, pad_edge=False)
    for heading in ("#", "op", "from", "module", "class or call", "output", "attributes", "defined at", "called at"):
        table.add_column(heading, justify="right" if heading == "#" else "left", overflow="fold")
    for node in graph.nodes:
        table.add_row(*_row(node, graph))
    out = io.StringIO()
    console = Console(file=out, width=width or 10_000, color_system=None, highlight=False, markup=False, emoji=False)
    console.print(table)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    lines += [f"note: {note}" for note in graph.notes]
    return "\n".join(lines) + "\n"
