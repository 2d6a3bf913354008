"""Conversions as findings, so that they are written, tried and shown as the fixes of rules are. In the worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.job import CONVERT, Conversion
from normadvisor.match.fingerprints import fingerprinted
from normadvisor.match.places import Places
from normadvisor.types import Applicability, Confidence, Finding, Fix, Operation, Severity

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph

__all__ = ["conversion_findings"]

_NAMES = {
    "group_norm": "GroupNorm",
    "layer_norm": "LayerNorm",
    "sync_batch_norm": "SyncBatchNorm",
    "frozen_batch_norm": "a frozen BatchNorm",
    "instance_norm": "InstanceNorm",
}


def conversion_findings(graph: ModelGraph, conversion: Conversion, root: Path) -> list[Finding]:
    """One finding for each place that builds layers to be converted.

    Args:
        graph: the model.
        conversion: which layers, and to what.
        root: folder of the target; findings point into files below it when they can.

    """
    from normadvisor.rewrite.convert import conversion_operations

    groups = conversion_operations(graph, conversion.to, conversion.layers, conversion.groups)
    places = Places(graph, root)
    return fingerprinted([_finding(graph, operations, conversion.to, places) for operations in groups if operations])


def _finding(graph: ModelGraph, operations: Sequence[Operation], to: str, places: Places) -> Finding:
    modules = tuple(dict.fromkeys(operation.part.module for operation in operations))
    module = graph.modules.get(modules[0])
    place = places.of(module) if module is not None else None
    location = place.frame.location if place is not None else None
    more = f" and {len(modules) - 1} more" if len(modules) > 1 else ""
    kind = module.cls if module is not None else "BatchNorm"
    name = _NAMES.get(to, to)
    return Finding(
        rule=CONVERT,
        name=f"convert-to-{to.replace('_', '-')}",
        severity=Severity.INFO,
        confidence=Confidence.CONFIRMED,
        message=f"{kind} `{modules[0]}`{more} can be {name}",
        path=location.path if location else None,
        line=location.line if location else None,
        column=location.column if location else None,
        end_line=location.end_line if location else None,
        end_column=location.end_column if location else None,
        model=graph.target,
        modules=modules,
        fix=Fix(
            Applicability.UNSAFE,
            f"build {name} in its place",
            title=f"convert to {name}",
            operations=tuple(operations),
        ),
        fingerprint="\n".join((CONVERT, *((location.path, str(location.line)) if location else modules))),
    )
