"""Rows become tables: recall, false alarms, confusion, misses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from benchmarks.probe.diagnosis.baselines import autotrainer, sagemaker
from benchmarks.probe.diagnosis.network import FAMILIES, KINDS, PLANTS
from benchmarks.probe.diagnosis.training import LEAST_SKILL, MOST_OF_TWIN, known

__all__ = ["NAMED", "TOOLS", "Tool", "lines"]

_Rows = Sequence[dict[str, Any]]

NAMED: dict[str, tuple[str, ...]] = {
    "vanishing": ("NA601",),
    "exploding": ("NA602", "NA605"),
    "dead": ("NA603",),
    "saturated": ("NA604",),
    "nan": ("NA605",),
    "no-gradient": ("NA606",),
    "bad-init": ("NA601", "NA602", "NA604", "NA606", "NA610", "NA611", "NA612"),
    "mode": ("NA607",),
}
"""The rules that name each trouble; a bad start shows in several ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One of those that are compared."""

    title: str
    said: Callable[[dict[str, Any]], tuple[str, ...]]
    """What of a row is an alarm."""
    named: dict[str, tuple[str, ...]]


TOOLS = (
    Tool(title="normadvisor", said=lambda row: tuple(row["normadvisor"]), named=NAMED),
    Tool(title="SageMaker Debugger", said=lambda row: tuple(row["sagemaker"]), named=sagemaker.KINDS),
    Tool(
        title="SageMaker Debugger, six rules",
        said=lambda row: tuple(rule for rule in row["sagemaker"] if rule in sagemaker.QUIET),
        named=sagemaker.KINDS,
    ),
    Tool(title="AutoTrainer", said=lambda row: tuple(row["autotrainer"]), named=autotrainer.KINDS),
)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({part} of {whole})" if whole else "-"


def _overall(rows: _Rows) -> list[str]:
    sick, healthy = [row for row in rows if row["kind"] != "healthy"], [row for row in rows if row["kind"] == "healthy"]
    found = ["| | recall: any alarm | recall: the trouble is named | false alarms |", "| --- | --- | --- | --- |"]
    for tool in TOOLS:
        alarmed = sum(bool(tool.said(row)) for row in sick)
        named = sum(bool(set(tool.said(row)) & set(tool.named[row["kind"]])) for row in sick)
        false = sum(bool(tool.said(row)) for row in healthy)
        found.append(f"| {tool.title} | {_share(alarmed, len(sick))} | {_share(named, len(sick))} | {_share(false, len(healthy))} |")
    return found


def _kinds(rows: _Rows) -> list[str]:
    head = " | ".join(f"{tool.title}: any | named" for tool in TOOLS)
    found = [f"| planted | networks | {head} |", "| --- " * (2 + 2 * len(TOOLS)) + "|"]
    for kind in (*KINDS, "healthy"):
        own = [row for row in rows if row["kind"] == kind]
        cells = []
        for tool in TOOLS:
            cells.append(str(sum(bool(tool.said(row)) for row in own)))
            named = sum(bool(set(tool.said(row)) & set(tool.named.get(kind, ()))) for row in own)
            cells.append("" if kind == "healthy" else str(named))
        found.append(f"| {kind} | {len(own)} | " + " | ".join(cells) + " |")
    return found


def _confusion(rows: _Rows, tool: Tool) -> list[str]:
    said = sorted({name for row in rows for name in tool.said(row)})
    found = ["| planted | networks | " + " | ".join(said) + " | silent |", "| --- " * (3 + len(said)) + "|"]
    for kind in (*KINDS, "healthy"):
        own = [row for row in rows if row["kind"] == kind]
        counts = Counter(name for row in own for name in tool.said(row))
        cells = [str(counts[name] or "") for name in said]
        found.append(f"| {kind} | {len(own)} | " + " | ".join(cells) + f" | {sum(not tool.said(row) for row in own)} |")
    return found


def _listed(rows: _Rows) -> list[str]:
    """Misses and false alarms of normadvisor, each with its cause."""
    missed = [row for row in rows if row["kind"] != "healthy" and not row["normadvisor"]]
    other = [
        row for row in rows if row["kind"] != "healthy" and row["normadvisor"] and not set(row["normadvisor"]) & set(NAMED[row["kind"]])
    ]
    false = [row for row in rows if row["kind"] == "healthy" and row["normadvisor"]]
    lines = []
    for title, group in (("Missed", missed), ("Alarmed, under another name", other), ("False alarms", false)):
        lines += ["", f"{title}: {len(group)}", ""] if group else ["", f"{title}: none"]
        for row in group:
            cause = PLANTS[row["plant"]].cause if row["plant"] else FAMILIES[row["family"]].odd or "nothing odd"
            said = ", ".join((*row["normadvisor"], *(f"{rule} as information" for rule in row["information"]))) or "nothing"
            lines.append(f"- {row['name']} ({row['kind']}): {cause}. Said: {said}." + (f" {row['problem']}" if row["problem"] else ""))
    return lines


def lines(rows: _Rows) -> list[str]:
    """The whole page but its heading."""
    halves = {"Development half": True, "Held-out half": False}
    text: list[str] = []
    for title, development in halves.items():
        own = [row for row in rows if row["development"] == development]
        text += [f"## {title}", "", *_overall(own), "", *_kinds(own), *_listed(own), ""]
    text += ["## Both halves", "", *_overall(rows), "", *_kinds(rows), ""]
    for tool in (TOOLS[0], TOOLS[1], TOOLS[3]):
        text += [f"### {tool.title}: who says what", "", *_confusion(rows, tool), ""]
    return text + _ground(rows)


def _ground(rows: _Rows) -> list[str]:
    """What the ground truth rests on."""
    trained = list(known().values())
    healthy = [row for row in trained if "/healthy/" in row["name"]]
    planted = [row for row in trained if "/healthy/" not in row["name"]]
    idle = [row for row in healthy if row["skill"] < LEAST_SKILL]
    skills = {row["name"]: row["skill"] for row in trained}
    harmless = [row for row in planted if row["skill"] > MOST_OF_TWIN * skills[_twin(row["name"])]]
    kept: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        kept[row["kind"] == "healthy"].append(skills[row["name"]])
    different = [row["name"] for row in rows if not row["same_loss"]]
    return [
        "## Ground",
        "",
        f"{len({row['family'] for row in rows})} families, {len({row['plant'] for row in rows} - {''})} causes.",
        f"Of {len(healthy)} healthy networks that were trained, {len(idle)} did not learn and are left out;",
        f"of {len(planted)} planted ones, {len(harmless)} learned more than {MOST_OF_TWIN:g} of what their twins did and are left out.",
        "Skill (0 guessing, 1 knowing), quartiles:",
        f"{_quartiles(kept[True])} of the healthy ones, {_quartiles(kept[False])} of the planted ones.",
        "",
        f"{sum(row['seconds'] for row in rows):.0f} seconds of probing, one process per network.",
        f"First losses that differ between the tools, where training draws nothing: {', '.join(different) or 'none'}.",
    ]


def _twin(name: str) -> str:
    family, _, seed = name.split("/")
    return f"{family}/healthy/{seed}"


def _quartiles(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in quantiles(values, n=4)) if len(values) > 1 else "-"
