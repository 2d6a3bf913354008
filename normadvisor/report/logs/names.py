"""Names of curves, for the tools that plot one curve per name and group them by what stands before the first slash."""

from __future__ import annotations

import re
from collections.abc import Iterator

from normadvisor.report.logs.step import WHOLE_MODEL, StepNumbers
from normadvisor.types import Finding

__all__ = ["clean_name", "curves_of", "said"]

_FORBIDDEN = re.compile(r"[^-/\w.() ]")
"""TensorBoard shows word characters, points, dashes and slashes in names of curves; the rest it replaces or refuses."""


def clean_name(text: str) -> str:
    """``text`` with every character that tools stumble over replaced by an underscore."""
    return _FORBIDDEN.sub("_", text).strip("/")


def curves_of(numbers: StepNumbers) -> Iterator[tuple[str, float]]:
    """Name and value of each number: ``run/loss``, ``grad_norm/layer1.0.conv1``; what was not measured is left out."""
    for key, value in numbers.run.items():
        if value is not None:
            yield f"run/{key}", value
    for layer, values in numbers.layers.items():
        for key, value in values.items():
            if value is not None:
                yield f"{key}/{clean_name(layer) or WHOLE_MODEL}", value


def said(finding: Finding) -> str:
    """A finding in one line: ``NA605 non-finite (error): ...``."""
    return f"{finding.rule} {finding.name} ({finding.severity}): {finding.message}"
