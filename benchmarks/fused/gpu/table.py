"""The tables of a run on a GPU, and whether it came out as wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from statistics import median
from typing import Any

__all__ = ["LARGE", "goals_table", "operations_table", "shortfalls", "steps_table"]

Row = Mapping[str, Any]
"""What :func:`benchmarks.fused.gpu.measure.measure` gives."""

LARGE = 64 * 2**20
"""Bytes of a tensor from which on the share of bandwidth counts: it does not stay in any cache."""
_SHARE = 0.80
_SHARED = "group_norm + silu"
_WANTED = {"group_norm + silu": (2.0, 1.2), "batch_norm + relu": (1.3, 1.0), "batch_norm + add + relu": (1.3, 1.0)}
"""Least geometric means of speed, beside eager and beside ``torch.compile``."""
_LOSS = 0.97
_ERROR = 2.0
"""Most that an error may be, in times of eager's."""
_COMPILED = "torch.compile"
_HEAD = (
    "operation", "shape", "dtype", "where", "MiB", "forward µs", "both µs", "forward share", "both share", "to eager", "to compile",
    "to others", "error",
)  # fmt: skip
_OWN = ("eager", "fused", _COMPILED)


def _seconds(row: Row, way: str, key: str = "both") -> float | None:
    times = row["ways"].get(way, {}).get(key)
    return median(times) if times else None


def _ratio(row: Row, way: str, key: str = "both") -> float | None:
    """How many times as fast as ``way`` the fused operation is."""
    own, other = _seconds(row, "fused", key), _seconds(row, way, key)
    return other / own if own and other else None


def _share(row: Row, key: str, bandwidth: float) -> float | None:
    own = _seconds(row, "fused", key)
    moved: float = row["passes"][key] * row["bytes"]
    return moved / own / bandwidth if own else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return exp(sum(map(log, known)) / len(known)) if known else None


def _number(value: float | None, form: str = ".2f", scale: float = 1.0) -> str:
    return "" if value is None else format(value * scale, form)


def _others(row: Row) -> str:
    """Packages: how many times as fast as each the fused operation is."""
    told = []
    for name, found in row["ways"].items():
        if name not in _OWN:
            told.append(f"{name} fails" if "failed" in found else f"{name} {_number(_ratio(row, name))}")
    return ", ".join(told)


def _line(row: Row, bandwidth: float) -> str:
    fused = row["ways"]["fused"]
    where = f"| {row['operation']} | {row['shape']} | {row['dtype']} | {row['where']} | {row['bytes'] / 2**20:.0f} |"
    if "failed" in fused:
        return f"{where} fails: {fused['failed']} |" + " |" * 7
    cells = [
        _number(_seconds(row, "fused", "forward"), ".1f", 1e6), _number(_seconds(row, "fused"), ".1f", 1e6),
        _number(_share(row, "forward", bandwidth), ".0%"), _number(_share(row, "both", bandwidth), ".0%"),
        _number(_ratio(row, "eager")), _number(_ratio(row, _COMPILED)), _others(row), _number(fused["error"]),
    ]  # fmt: skip
    return f"{where} {' | '.join(cells)} |"


def operations_table(rows: Sequence[Row], bandwidth: float) -> str:
    """Markdown: a line for each case, and the geometric means of each operation.

    Args:
        rows: of the cases that were run.
        bandwidth: bytes a second of a copy.

    """
    lines = [f"| {' | '.join(_HEAD)} |", "| --- " * len(_HEAD) + "|", *(_line(row, bandwidth) for row in rows), ""]
    lines += ["| operation | cases | share of bandwidth over 64 MiB | to eager | to compile |", "| --- | --- | --- | --- | --- |"]
    for name in dict.fromkeys(row["operation"] for row in rows):
        own = [row for row in rows if row["operation"] == name]
        share = _mean(_share(row, "both", bandwidth) for row in own if row["bytes"] > LARGE)
        means = [_mean(_ratio(row, way) for row in own) for way in ("eager", _COMPILED)]
        lines.append(f"| {name} | {len(own)} | {_number(share, '.0%')} | {_number(means[0])} | {_number(means[1])} |")
    failed = [
        f"- {row['operation']}, {row['shape']}, {row['dtype']}, {name}: {found['failed']}"
        for row in rows
        for name, found in row["ways"].items()
        if "failed" in found
    ]
    return "\n".join([*lines, *(["", "What failed:", "", *failed] if failed else [])])


def goals_table(rows: Sequence[Row], bandwidth: float) -> str:
    """Markdown: what is wanted of the fused operations and what was measured, a line for each goal.

    Args:
        rows: of the cases that were run.
        bandwidth: bytes a second of a copy.

    """
    lines = ["| goal | wanted | measured | met |", "| --- | --- | --- | --- |"]
    large = [row for row in rows if row["operation"] == _SHARED and row["bytes"] > LARGE]
    goals = [(f"{_SHARED}, share of bandwidth, lowest over 64 MiB", _SHARE, _least(_share(row, "both", bandwidth) for row in large), ".0%")]
    for name, wanted in _WANTED.items():
        own = [row for row in rows if row["operation"] == name]
        for way, least in zip(("eager", _COMPILED), wanted, strict=True):
            goals.append((f"{name}, times the speed of {way}, geometric mean", least, _mean(_ratio(row, way) for row in own), ".2f"))
    goals.append(("any shape, times the speed of eager, lowest", _LOSS, _least(_ratio(row, "eager") for row in rows), ".2f"))
    for words, least, value, form in goals:
        met = "not measured" if value is None else "yes" if value >= least else "**no**"
        lines.append(f"| {words} | {format(least, form)} | {_number(value, form)} | {met} |")
    return "\n".join(lines)


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def steps_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: two lines for each network and way, eager and the way itself, which took turns.

    Args:
        found: by network and way what :func:`benchmarks.fused.gpu.steps.measure_steps` gives.

    """
    head = ("network", "way", "ms a step", "times the speed of eager", "peak MiB", "first loss", "first loss after s", "places fused")
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for name, ways in found.items():
        for way, row in ways.items():
            if "failed" in row:
                lines.append(f"| {name} | {way} | fails: {row['failed']} |" + " |" * 5)
                continue
            eager, seconds = row["seconds"]["eager"], row["seconds"][way]
            ratios = sorted(one / other for one, other in zip(eager, seconds, strict=True))
            spread = f"{median(ratios):.3f} ({ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f})"
            places = ", ".join(f"{count.get('fused', 0)} of {sum(count.values())} {pattern}" for pattern, count in row["places"].items())
            for told, ratio, cold, fused in (("eager", "", "", ""), (way, spread, f"{row['cold']:.0f}", places)):
                memory = _number(row["memory"][told], ".0f", 2.0**-20)
                milliseconds = f"{median(row['seconds'][told]) * 1000:.1f}"
                cells = [f"{name}, {row['words']}", told, milliseconds, ratio, memory, f"{row['losses'][told]:.4f}", cold, fused]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shortfalls(rows: Sequence[Row], bandwidth: float) -> list[str]:
    """Where the fused operations are not what they have to be: wrong, slow, or slower than what they replace."""
    lines = []
    for row in rows:
        where = f"{row['operation']}, {row['shape']}, {row['dtype']}"
        fused = row["ways"]["fused"]
        if "failed" in fused:
            lines.append(f"{where}: {fused['failed']}")
            continue
        if fused["error"] > _ERROR:
            lines.append(f"{where}: the error is {fused['error']:.1f} times that of eager")
        ratio, share = _ratio(row, "eager"), _share(row, "both", bandwidth)
        if ratio is not None and ratio < _LOSS:
            lines.append(f"{where}: {ratio:.2f} times the speed of eager")
        if row["operation"] == _SHARED and row["bytes"] > LARGE and share is not None and share < _SHARE:
            lines.append(f"{where}: {share:.0%} of the bandwidth of a copy, wanted {_SHARE:.0%}")
    for name, wanted in _WANTED.items():
        own = [row for row in rows if row["operation"] == name]
        for way, least in zip(("eager", _COMPILED), wanted, strict=True):
            mean = _mean(_ratio(row, way) for row in own)
            if mean is not None and mean < least:
                lines.append(f"{name}: {mean:.2f} times the speed of {way} in geometric mean, wanted {least}")
    return lines
