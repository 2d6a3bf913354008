"""Where in the source the expressions stand that a model writes out by hand."""

from __future__ import annotations

import linecache
from typing import Any

import torch
from torch import nn

from normadvisor.graph.model import ModelGraph, NodeInfo
from normadvisor.graph.record import note_of
from normadvisor.graph.written import written_by
from normadvisor.types import Site

__all__ = ["written_places"]

_NAMES = ("computes", "function", "operations", "obstacle")
_OF_TORCH, _INSTALLED = "site-packages/torch/", "site-packages/"


def written_places(graph: ModelGraph, model: nn.Module) -> list[dict[str, Any]]:
    """Each expression once, with the line that gives its result, its text, and how often it runs; after rules looked for them.

    Args:
        graph: of ``model``.
        model: the model itself.

    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for node in graph.nodes:
        if "computes" not in node.attrs:
            continue
        told = {name: node.attrs[name] for name in _NAMES if name in node.attrs}
        root = _line(_site(node, model))
        row = found.setdefault((*map(str, told.values()), root), {**told, "root": root, "cls": node.cls, "module": node.module, "count": 0})
        row["count"] += 1
    return list(found.values())


def _site(node: NodeInfo, model: nn.Module) -> Site | None:
    """Where the expression stands: for a layer that is nothing else, in its own forward."""
    if not node.cls or node.in_shape is None:
        return node.call_site
    written = written_by(model.get_submodule(node.module), node.in_shape, getattr(torch, node.dtype or "float32", torch.float32))
    return node.call_site if written is None else note_of(written.root).site


def _line(site: Site | None) -> tuple[str, str]:
    for frame in site.frames if site is not None else ():
        place = frame.location
        if _OF_TORCH not in place.path:
            return f"{place.path.rsplit(_INSTALLED, 1)[-1]}:{place.line}", linecache.getline(place.path, place.line).strip()
    return "(no place)", ""
