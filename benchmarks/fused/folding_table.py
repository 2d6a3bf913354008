"""The results of a sweep as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

__all__ = ["table"]

_BOUND = 1e-4
"""Relative error in float32 that no model may exceed."""


def table(rows: list[dict[str, Any]]) -> str:
    """The results as markdown: totals, whatever needs an explanation, then one row per model that has norms."""
    return "\n".join(_lines(rows)) + "\n"


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    measured = [row for row in rows if "problem" not in row]
    with_norms = [row for row in measured if row.get("norms")]
    worst = max((row["error"] for row in measured if row.get("error") is not None), default=0.0)
    yield "# Folding: every model of torchvision and timm"
    yield ""
    yield f"{len(rows)} models, {len(with_norms)} with batch norm, {len(rows) - len(measured)} that could not be measured."
    yield (
        f"{sum(row['folded'] for row in with_norms)} of {sum(row['norms'] for row in with_norms)} runs of a batch norm were folded; "
        f"`torch.fx.experimental.optimization.fuse` folds {sum(row['fx'] for row in with_norms if isinstance(row['fx'], int))} "
        f"and does not run on {sum(not isinstance(row['fx'], int) for row in with_norms)} models."
    )
    yield f"Largest relative error in float32: {worst:.1e}."
    yield ""
    over = [row for row in measured if not (row.get("error") or 0.0) <= _BOUND]
    if over:
        yield f"Above {_BOUND:.0e}: " + ", ".join(
            f"{row['name']} ({row['error']:.1e}, in float64 {row.get('error64', float('nan')):.1e})" for row in over
        )
        yield ""
    missed = [row["name"] for row in with_norms if (row.get("pairs") or 0) > row["folded"]]
    yield f"Models in which autograd's graph shows pairs that were not folded: {', '.join(missed) or 'none'}."
    yield ""
    reasons: Counter[str] = Counter()
    for row in measured:
        reasons.update(row.get("refused", {}))
    yield "| left as it is, because | norms |"
    yield "| --- | ---: |"
    yield from (f"| {reason} | {count} |" for reason, count in reasons.most_common())
    yield ""
    yield "| model | input | norms | folded | pairs in autograd's graph | fx fuse | error | in float64 |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in with_norms:
        cells = [row["name"], row["input"], row["norms"], row["folded"], _cell(row.get("pairs")), row["fx"]]
        yield "| " + " | ".join(map(str, [*cells, _told(row.get("error")), _told(row.get("error64"))])) + " |"
    failed = [row for row in rows if "problem" in row]
    if failed:
        yield ""
        yield "Not measured:"
        yield ""
        yield from (f"- {row['name']}: {row['problem']}" for row in failed)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _told(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
