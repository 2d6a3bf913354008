"""The tables of a run on a CPU, and whether it came out as wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from statistics import median, quantiles
from typing import Any

from benchmarks.fused.cpu.variants import OURS, VARIANTS

__all__ = ["LEAST", "WITHIN", "shortfalls", "tables"]

Row = Mapping[str, Any]
"""One model at one batch size: ``model``, ``batch``, ``eager`` (seconds), and ``variants`` as :mod:`benchmarks.fused.cpu.measure` gives
them."""

LEAST = 0.98
"""Times of eager's speed below which no optimized model may fall."""
WITHIN = 1e-4
"""Largest relative error of an optimized model in float32."""
_PEER = "fx fuse + channels_last"


def _ratio(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    if "failed" in found:
        return f"fails ({str(found['failed']).partition(':')[0]})"
    ratios = found["ratios"]
    if len(ratios) < 2:
        return f"{ratios[0]:.2f}"
    low, _, high = quantiles(ratios, n=4)
    return f"{median(ratios):.2f} ({low:.2f} to {high:.2f})"


def _middle(row: Row, name: str) -> float | None:
    ratios = row["variants"].get(name, {}).get("ratios")
    return median(ratios) if ratios else None


def _mean(values: Iterable[float | None]) -> str:
    """Geometric mean of what is there, and of how many that is."""
    known = [value for value in values if value is not None]
    return f"{exp(sum(map(log, known)) / len(known)):.2f} ({len(known)})" if known else ""


def _speed(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    lines = ["| model | eager ms | " + " | ".join(names) + " |", "| --- | --- |" + " --- |" * len(names)]
    for row in rows:
        cells = [_ratio(row["variants"].get(name)) for name in names]
        eager = f"{median(row['eager']) * 1000:.1f}" if row["eager"] else ""
        lines.append(f"| {row['model']} | {eager} | {' | '.join(cells)} |")
    means = [_mean(_middle(row, name) for row in rows) for name in names]
    return [*lines, f"| geometric mean (of models) | | {' | '.join(means)} |"]


def _number(found: Mapping[str, Any] | None, key: str, form: str) -> str:
    return format(found[key], form) if found is not None and key in found else ""


def _facts(rows: Sequence[Row], names: Sequence[str], key: str, form: str) -> list[str]:
    lines = ["| model | batch | " + " | ".join(names) + " |", "| --- | --- |" + " --- |" * len(names)]
    for row in rows:
        cells = [_number(row["variants"].get(name), key, form) for name in names]
        lines.append(f"| {row['model']} | {row['batch']} | {' | '.join(cells)} |")
    return lines


def shortfalls(rows: Sequence[Row]) -> list[str]:
    """Where the optimized model is not what it has to be: too slow, behind its peer at batch 8 or more, too far off, or not there."""
    lines = []
    for row in rows:
        where = f"{row['model']}, batch {row['batch']}"
        found = row["variants"].get(OURS)
        if found is None:
            continue
        if "failed" in found:
            lines.append(f"{where}: {found['failed']}")
            continue
        own, peer = median(found["ratios"]), _middle(row, _PEER)
        if own < LEAST:
            lines.append(f"{where}: {own:.2f} times the speed of eager, less than {LEAST}")
        if peer is not None and row["batch"] > 1 and own < peer / (2 - LEAST):
            lines.append(f"{where}: {own:.2f} times the speed of eager, less than the {peer:.2f} of {_PEER}")
        if found["error"] > WITHIN:
            lines.append(f"{where}: relative error {found['error']:.1e}, more than {WITHIN:.0e}")
    return lines


def tables(rows: Sequence[Row]) -> str:
    """Markdown: speed for each batch size, seconds until the first result, errors, what failed, what fell short."""
    names = [name for name in VARIANTS if any(name in row["variants"] for row in rows)]
    lines = []
    for batch in sorted({row["batch"] for row in rows}):
        lines += [f"## Times the speed of eager, batch {batch}", "", *_speed([row for row in rows if row["batch"] == batch], names), ""]
    lines += ["## Seconds until the first result is there", "", *_facts(rows, names, "cold", ".1f"), ""]
    lines += ["## Largest error relative to the largest output of eager", "", *_facts(rows, names, "error", ".1e")]
    failed = [
        f"- {row['model']}, batch {row['batch']}, {name}: {found['failed']}"
        for row in rows
        for name, found in row["variants"].items()
        if "failed" in found
    ]
    lines += ["", "## What failed", "", *failed] if failed else []
    short = shortfalls(rows)
    lines += ["", "## Where the optimized model falls short", "", *(f"- {line}" for line in short)] if short else []
    return "\n".join(lines)
