"""The numbers of one optimized model in words: what all ways of showing it have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from normadvisor.report.clean import one_line
from normadvisor.report.measured.numbers import duration, number
from normadvisor.report.modules import compact, listed
from normadvisor.report.tally import counted
from normadvisor.types.optimization import VERDICTS, Errors, Optimization, Ratio, Replacement, Variant

__all__ = ["COLUMNS", "LEGEND", "Bar", "LeftRow", "Row", "Sheet", "VariantRow", "sheet_of"]

COLUMNS = ("alone", "whole model", "memory", "error", "verdict")
"""Titles of the columns beside the replacement."""
LEGEND = (
    "alone: times as fast, the operations by themselves; whole model: times as fast with them; memory: peak of a pass in times of that "
    "before; error: against float64, before and after, relative to the largest output"
)
"""What the numbers in the columns are."""
_NONE = "\u2013"
_MOST_NAMES = 6
_WIDTH = 120
"""Pixels of a bar's picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A ratio as a picture, in pixels."""

    kind: str
    """``gain`` or ``loss``."""
    start: float
    width: float
    low: float
    high: float
    one: float
    """Where the ratio is 1."""
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table."""

    rule: str
    what: str
    """``20 x conv2d + batch_norm -> conv2d``."""
    where: str
    alone: str
    """How many times faster the operations alone are."""
    spread: str
    """Quartiles of that, and of the whole model."""
    whole: str
    alone_bar: Bar | None
    whole_bar: Bar | None
    memory: str
    error: str
    verdict: str
    kept: bool
    meaning: str
    """What the verdict says, with the reason where there is one."""
    proof: str

    @property
    def plain(self) -> bool:
        """Whether the verdict says everything."""
        return not self.meaning or (self.kept and self.meaning == VERDICTS["kept"])

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of :data:`COLUMNS`."""
        return self.alone, self.whole, self.memory, self.error, self.verdict


@dataclass(frozen=True, slots=True)
class LeftRow:
    """Places that stay as they are."""

    rule: str
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class VariantRow:
    """Another way to run the model."""

    name: str
    ratio: str
    cold_start: str
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Everything about one model."""

    target: str
    setup: str
    gained: bool
    headline: str
    detail: str
    """Spread, memory and error of all that was kept together."""
    rows: tuple[Row, ...]
    left: tuple[LeftRow, ...]
    variants: tuple[VariantRow, ...]
    keys: str
    saved: tuple[str, ...]
    """Where it was saved, and how it is loaded."""
    notes: tuple[str, ...]


def sheet_of(found: Optimization) -> Sheet:
    """What came of a model, in words."""
    kept = found.kept
    common = _common(found.replacements)
    ratios = [ratio for row in found.replacements for ratio in (row.kernel, row.end_to_end) if ratio is not None]
    scale = _Scale.of(ratios)
    inputs = f"inputs {found.inputs}" if found.inputs else ""
    return Sheet(
        target=one_line(found.target),
        setup=", ".join(one_line(word) for word in (found.mode, found.device, found.dtype, inputs) if word),
        gained=found.end_to_end is not None and found.end_to_end.median > 1,
        headline=_headline(found),
        detail=_detail(found) if kept else "",
        rows=tuple(_row(row, scale, common=bool(common)) for row in found.replacements),
        left=tuple(LeftRow(one_line(each.rule), listed(each.modules), one_line(each.reason)) for each in found.left),
        variants=tuple(map(_variant, found.variants)),
        keys=_keys(found),
        saved=tuple(_saved(found)),
        notes=tuple(map(one_line, found.notes)),
    )  # fmt: skip


def _headline(found: Optimization) -> str:
    kept = found.kept
    what = "a pass" if found.mode == "inference" else "forward and backward"
    if not kept:
        return _nothing(found.replacements)
    if found.end_to_end is None:
        return f"{counted(len(kept), 'replacement')} kept; the whole was not measured."
    whole = found.end_to_end
    times = f"{what} takes {_time(whole.after)} instead of {_time(whole.before)}"
    if not whole.low <= whole.before / whole.after <= whole.high:  # what varies from pair to pair hides what differs within each
        times = f"{what} took about {_time(whole.before)} before"
    return f"{whole.median:.2f} times as fast: {times}."


def _nothing(rows: Sequence[Replacement]) -> str:
    """Why nothing was kept."""
    if not rows:
        return "There is nothing to replace."
    if _common(rows):
        return f"Nothing could be measured, so nothing was kept: {one_line(_common(rows))}."
    return f"Nothing was kept of {counted(len(rows), 'replacement')}."


def _common(rows: Sequence[Replacement]) -> str:
    """The one reason for which nothing could be measured; empty where there are several, or something was."""
    reasons = {row.reason.partition(":")[0] if row.verdict == "not measured" else "" for row in rows}
    return rows[0].reason if len(reasons) == 1 and "" not in reasons else ""


def _detail(found: Optimization) -> str:
    words = []
    if found.end_to_end is not None:
        whole = found.end_to_end
        words.append(f"half of {counted(whole.pairs, 'paired run')} between {whole.low:.2f} and {whole.high:.2f} times")
    if found.memory is not None:
        words.append(f"peak memory of a pass {found.memory:.2f} times that before")
    if found.error is not None:
        words.append(
            f"largest error against float64 {number(found.error.after)}, {number(found.error.before)} before; "
            f"outputs differ by {number(found.error.between)}"
        )
    return "; ".join(words)


def _row(row: Replacement, scale: _Scale, *, common: bool) -> Row:
    places = len(row.modules)
    count = f"{places} x " if places > 1 else ""
    where = _where(row.modules, "the whole model" if row.rule == "NA706" else "forward of the model")
    if row.left_out:
        where += f"; without {listed(row.left_out)}, slower at their shapes"
    meaning = "" if common else row.reason or VERDICTS.get(row.verdict, "")
    return Row(
        rule=one_line(row.rule), what=f"{count}{one_line(row.pattern)} -> {one_line(row.replacement)}", where=where,
        alone=_times(row.kernel), whole=_times(row.end_to_end), spread=", ".join(_spreads(row)),
        alone_bar=scale.bar(row.kernel), whole_bar=scale.bar(row.end_to_end), memory=_NONE if row.memory is None else f"{row.memory:.2f}x",
        error=_errors(row.error), verdict=one_line(row.verdict), kept=row.kept, meaning=one_line(meaning), proof=one_line(row.proof),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Scale:
    """Ratios on a logarithmic axis that all bars share."""

    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[Ratio]) -> _Scale:
        """An axis that holds all quartiles, and a tenth on either side of 1."""
        return cls(min([0.9, *(ratio.low for ratio in ratios)]), max([1.1, *(ratio.high for ratio in ratios)]))

    def bar(self, ratio: Ratio | None) -> Bar | None:
        """The picture of a ratio."""
        if ratio is None:
            return None
        one, middle, low, high = (self._at(value) for value in (1.0, ratio.median, ratio.low, ratio.high))
        return Bar(
            kind="gain" if ratio.median >= 1 else "loss", start=min(one, middle), width=max(1.0, round(abs(middle - one), 1)), low=low,
            high=high, one=one, words=f"{ratio.median:.2f} times, quartiles {ratio.low:.2f} and {ratio.high:.2f}",
        )  # fmt: skip

    def _at(self, value: float) -> float:
        return round(2 + (_WIDTH - 4) * math.log(value / self.low) / math.log(self.high / self.low), 1)


def _times(ratio: Ratio | None) -> str:
    return _NONE if ratio is None else f"{ratio.median:.2f}x"


def _where(modules: Sequence[str], model: str) -> str:
    """Names of layers, those that differ in numbers alone as one; the model itself has none."""
    names = [one_line(name) or model for name in compact(modules)]
    return ", ".join(names[:_MOST_NAMES]) + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")


def _spreads(row: Replacement) -> Iterator[str]:
    for name, ratio in (("alone", row.kernel), ("whole model", row.end_to_end)):
        if ratio is not None:
            before = ", measured in an earlier run" if ratio.cached else ""
            yield f"{name} {ratio.low:.2f} to {ratio.high:.2f}{before}"


def _errors(errors: Errors | None) -> str:
    return _NONE if errors is None else f"{_digit(errors.before)} -> {_digit(errors.after)}"


def _digit(value: float) -> str:
    """An error with one digit, which is as far as it says anything."""
    return number(float(f"{value:.0e}")) if math.isfinite(value) else number(value)


def _variant(variant: Variant) -> VariantRow:
    cold = _NONE if variant.cold_start is None else _time(variant.cold_start)
    error = _NONE if variant.error is None else number(variant.error.after)
    return VariantRow(one_line(variant.name), _times(variant.end_to_end), cold, error, one_line(variant.reason))


def _time(seconds: float) -> str:
    return duration(seconds).replace("\u00a0", " ")


def _keys(found: Optimization) -> str:
    dropped = sum(words == "dropped" or words.startswith("in ") for words in found.keys.values())
    changed = len(found.keys) - dropped
    if not found.keys:
        return ""
    parts = [counted(changed, "changed value")] if changed else []
    parts += [counted(dropped, "key") + " gone"] if dropped else []
    return f"state_dict: {', '.join(parts)}; checkpoints of the original are carried over by result.fold_map.apply(state_dict)"


def _saved(found: Optimization) -> Iterator[str]:
    if not found.saved:
        return
    yield f"saved: {one_line(found.saved)}"
    file = repr(Path(found.saved).name)
    if found.saved.endswith(".pt2"):
        yield f"load it with: model = torch.export.load({file}).module()"
    else:
        yield f"load it with: model = normadvisor.load_optimized(model, {file})"
