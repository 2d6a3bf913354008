"""The results of a sweep as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

__all__ = ["table"]

_BOUND = 1e-4
"""Relative error in float32 that no model may exceed."""


def table(rows: list[dict[str, Any]], total: int) -> str:
    """The results as markdown: totals, whatever needs an explanation, then one row per model that has norms."""
    return "\n".join(_lines(rows, total)) + "\n"


def _lines(rows: list[dict[str, Any]], total: int) -> Iterator[str]:
    measured = [row for row in rows if "problem" not in row]
    with_norms = [row for row in measured if row.get("norms") and "folded" in row]
    run = [row for row in measured if row.get("error") is not None]
    folded, norms = (sum(row[key] for row in with_norms) for key in ("folded", "norms"))
    refused = Counter[str]()
    for row in with_norms:
        refused.update(row.get("refused", {}))
    yield "# Folding: torchvision and timm"
    yield ""
    yield f"`python -m benchmarks.fused.folding`, {_versions()}; its first lines say what is measured and how."
    yield ""
    order = "" if len(rows) == total else ", taken one of each file of source code after another, small ones first"
    yield f"- {len(rows)} of {total} models{order}; {len(rows) - len(measured)} could not be measured."
    yield f"- {len(with_norms)} have batch norms, {norms} runs of one in all. {folded} were folded."
    by_torch = [row["fx"] for row in with_norms if isinstance(row["fx"], int)]
    failed = len(with_norms) - len(by_torch)
    yield f"- `torch.fx.experimental.optimization.fuse` folds {sum(by_torch)}, and does not run on {failed} of the models."
    pairs = sum(row.get("pairs") or 0 for row in with_norms)
    yield f"- The graph that autograd records shows {pairs} pairs of a layer and a norm that nothing comes between."
    yield f"  Models in which fewer were folded: {', '.join(_missed(with_norms)) or 'none'}."
    yield f"- Largest relative error in float32: {max((row['error'] for row in run), default=0.0):.1e}, of {len(run)} models that were run."
    yield ""
    over = [row for row in measured if not (row.get("error") or 0.0) <= _BOUND]
    if over:
        yield f"Above {_BOUND:.0e}: " + ", ".join(
            f"{row['name']} ({row['error']:.1e}, in float64 {row.get('error64', float('nan')):.1e})" for row in over
        )
        yield ""
    merged = sum(refused.values()) - norms + folded
    yield f"Norms that no layer beside them takes up; merging parallel branches takes {merged} of them in after all."
    yield ""
    yield "| reason | norms |"
    yield "| --- | ---: |"
    yield from (f"| {reason} | {count} |" for reason, count in refused.most_common())
    yield ""
    yield "| model | input | norms | folded | pairs in autograd's graph | fx fuse | error | in float64 |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in with_norms:
        cells = [row["name"], row["input"], row["norms"], row["folded"], _cell(row.get("pairs")), row["fx"]]
        yield "| " + " | ".join(map(str, [*cells, _told(row.get("error")), _told(row.get("error64"))])) + " |"
    troubled = [row for row in rows if "problem" in row]
    if troubled:
        yield ""
        yield "Not measured:"
        yield ""
        yield from (f"- {row['name']}: {row['problem']}" for row in troubled)


def _missed(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows if (row.get("pairs") or 0) > row["folded"]]


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm"))


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _told(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
