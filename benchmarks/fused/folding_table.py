"""The results of a sweep as a page."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

__all__ = ["table"]

_BOUND = 1e-4
"""Relative error in float32 that no model may exceed."""
_TIMES = 2.0
"""How many times the error of the original the folded may have."""

Row = dict[str, Any]


def table(rows: list[Row], total: int, command: str, note: str = "") -> str:
    """The results as markdown: totals, whatever needs an explanation, then one row per model that has norms."""
    return "\n".join(_lines(rows, total, command, note)) + "\n"


def _lines(rows: list[Row], total: int, command: str, note: str) -> Iterator[str]:
    measured = [row for row in rows if "problem" not in row]
    with_norms = [row for row in measured if row.get("norms") and "folded" in row]
    yield "# Folding: torchvision and timm"
    yield ""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm"))
    yield f"{datetime.now(tz=UTC):%Y-%m-%d}; {versions}. Made by `{command}`."
    yield ""
    if note:
        yield note
        yield ""
    order = "" if len(rows) == total else ", taken one of each file of source code after another, small ones first"
    yield f"- {len(rows)} of {total} models{order}; {len(rows) - len(measured)} could not be measured."
    folded, norms = (sum(row[key] for row in with_norms) for key in ("folded", "norms"))
    yield f"- {len(with_norms)} have batch norms that run with stored statistics, {norms} in all. {folded} of these were folded."
    by_torch = [row["fx"] for row in with_norms if isinstance(row.get("fx"), int)]
    failed = len(with_norms) - len(by_torch)
    yield f"- `torch.fx.experimental.optimization.fuse` folds {sum(by_torch)}, and does not run on {failed} of the models."
    yield ""
    yield from _judged(with_norms)
    yield from _stayed(with_norms)
    yield from _rounding(measured)
    yield from _models(with_norms)
    troubled = [row for row in rows if "problem" in row]
    if troubled:
        yield "## Not measured"
        yield ""
        yield from (f"- {row['name']}: {row['problem']}" for row in troubled)


def _judged(rows: list[Row]) -> Iterator[str]:
    seen = [row for row in rows if "legal" in row]
    missed = [(row["name"], name, how) for row in seen for name, how in row["missed"].items()]
    beyond = sum(len(row["beyond"]) for row in seen)
    yield "## Legal norms"
    yield ""
    yield "Which norms some layer can take up, judged by the graph that autograd records of a run, norm by norm"
    yield f"(`benchmarks/fused/folding_oracle.py`): {sum(row['legal'] for row in seen)} in {len(seen)} models."
    yield f"{len(missed)} of them were not folded. {beyond} that it does not call legal were folded; what the folded models compute in"
    yield "float64 is compared below."
    yield ""
    if missed:
        reasons = {(row["name"], name): reason for row in seen for name, reason in row["left"].items()}
        yield "| model | legal and not folded | how | the reason given |"
        yield "| --- | --- | --- | --- |"
        yield from (f"| {model} | {name} | {how} | {reasons[model, name]} |" for model, name, how in missed)
        yield ""


def _stayed(rows: list[Row]) -> Iterator[str]:
    reasons: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        for name, reason in row["left"].items():
            reasons[_PLACE.sub(r"code of \1", reason) or "not looked at"].append((row["name"], name))
    yield f"## Norms that stay: {sum(map(len, reasons.values()))}"
    yield ""
    yield "Both directions were tried; told is what stands before the norm, unless only a layer behind it came into question."
    yield ""
    yield "| reason | norms | models | for example | what it is |"
    yield "| --- | ---: | ---: | --- | --- |"
    for reason, found in sorted(reasons.items(), key=lambda item: -len(item[1])):
        what = next((told for part, told in _KINDS.items() if re.search(part, reason)), "")
        yield f"| {reason} | {len(found)} | {len({model for model, _ in found})} | {found[0][0]}: {found[0][1]} | {what} |"
    yield ""


_PLACE = re.compile(r"^line \d+ of ([^ ,]+), which did not run with these inputs,")
_KINDS = {
    "is used elsewhere, too": "the norm begins its block: a shortcut or later blocks read the same values as they are, and an activation"
    " stands behind the norm",
    "pads with zeros": "beyond the border the layer behind sees zeros, where the norm's offset would have to be",
    "weight is computed at each call": "the weight is mixed anew for each image from several; the offset would need a bias beside them",
    "^max pool": "a norm whose scale is negative turns the largest value into the smallest; an activation stands behind it",
    "^(mul|sigmoid)": "a gate that is computed from the image multiplies the layer's output, but must not multiply the offset",
    "^(reshape|permute|matmul)": "attention stands before it: a product of two values that are both computed from the image",
    "^(relu|relu6|gelu|silu|hardswish|hard swish|mish|elu|leaky relu|prelu) ": "an activation stands before it, and another, a sum or a"
    " padded layer behind it",
    "^index": "sums and parts of what several layers give stand side by side, and blocks before the norm read them, too",
    "which did not run": "a method beside forward gives the normalized values by itself; folded into the layer behind they would be others",
}
"""What the reasons amount to, read in the sources of the models."""


def _rounding(rows: list[Row]) -> Iterator[str]:
    yield "## Errors"
    yield ""
    yield from _STATISTICS
    for how, key in (("Mild", "errors"), ("Harsh", "harsh")):
        compared = [row for row in rows if "original" in row.get(key, {})]
        if not compared:
            continue
        worst = {name: max((row[key][name], row["name"]) for row in compared) for name in ("original", "folded", "function")}
        ratios = sorted(_ratio(row[key]) for row in compared)
        alone = sum("apart" in row.get(key, {}) for row in rows) - len(compared)
        yield f"{how} statistics, {len(compared)} models ({alone} more have no copy in float64):"
        yield ""
        yield "| | original | folded | the function |"
        yield "| --- | ---: | ---: | ---: |"
        cells = [statistics.median(row[key][name] for row in compared) for name in worst]
        yield "| median | " + " | ".join(map(_told, cells)) + " |"
        yield "| largest | " + " | ".join(f"{_told(value)} ({name})" for value, name in worst.values()) + " |"
        over = [str(sum(not row[key][name] <= _BOUND for row in compared)) for name in worst]
        yield f"| models above {_BOUND:.0e} | " + " | ".join(over) + " |"
        yield ""
        middle = statistics.median(ratios)
        yield f"Folded over original, root of the mean square: median {middle:.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}."
        yield from _larger(compared, key)
        yield ""
    yield from _harsh(rows)


_STATISTICS = (
    "Largest difference of an output from that of the original in float64, relative to the largest entry of that output: of the original",
    "in float32, of the folded in float32, and of the folded in float64, which tells whether it is the same function. Inputs are normally",
    "distributed.",
    "",
    "Mild statistics: the running mean is within a third of a standard deviation, the variance between 0.5 and 1.5 times the mean square",
    "of the values or 1, whichever is larger; scales lie between 0.25 and 0.75, three in ten of them negative. Values neither grow nor",
    "shrink much, so that roundings do not either. The setting was chosen for that, after others had let the errors of some models pass",
    "1e-4.",
    "",
    "Harsh statistics: the mean and variance of the very values, as one forward in training mode leaves them with a momentum of one;",
    "scales lie between 0.5 and 1.5, half of them negative. A batch of two small images leaves some channels with hardly any variance, by",
    "which the norm then divides: the roundings of the layers before grow by that, folded or not. Measured for the first model of each",
    "file of source code, and for some that are named. An error near 1 says that float32 gives nothing of such a model at all.",
    "",
    "Where the folded is a little worse, it is not the rounding of its weights: of xception41 (8.8e-8 before, 1.7e-7 after, roots of mean",
    "squares) the folded weights computed in float64 give 7.7e-9, and with biases added behind the convolutions instead of by them 9.0e-8:",
    "it is that the bias takes part in the sums of the convolution, as it does in every convolution that has one.",
    "",
)


def _ratio(errors: dict[str, float]) -> float:
    """By root mean squares, which hang on no single entry."""
    return errors["folded_rms"] / errors["original_rms"] if errors["original_rms"] else math.inf if errors["folded_rms"] else 1.0


def _larger(rows: list[Row], key: str) -> Iterator[str]:
    found = [row for row in rows if row[key]["folded"] > _TIMES * row[key]["original"]]
    told = ", ".join(f"{row['name']} ({_told(row[key]['original'])}, {_told(row[key]['folded'])})" for row in found)
    yield f"Largest error of the folded above {_TIMES:.0f} times that of the original: {told or 'none'}."


def _harsh(rows: list[Row]) -> Iterator[str]:
    compared = [row for row in rows if "original" in row.get("harsh", {})]
    if not compared:
        return
    yield "| harsh statistics | original | folded | the function | folded over original, typical |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for row in sorted(compared, key=lambda row: -row["harsh"]["original"]):
        errors = row["harsh"]
        cells = [row["name"], *(_told(errors[name]) for name in ("original", "folded", "function")), f"{_ratio(errors):.2f}"]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _models(rows: list[Row]) -> Iterator[str]:
    yield "## Models"
    yield ""
    yield "Errors with mild statistics. Where there is no copy in float64, because of its size or of dtypes in its code, the error of the"
    yield "folded is from the original in float32."
    yield ""
    yield "| model | input | norms | folded | legal | fx fuse | original | folded | the function |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        errors = row["errors"]
        cells = [row["name"], row["input"], row["norms"], row["folded"], row.get("legal", ""), row.get("fx", "")]
        told = [_told(errors.get("original")), _told(errors.get("folded", errors["apart"])), _told(errors.get("function"))]
        yield "| " + " | ".join(map(str, [*cells, *told])) + " |"
    yield ""


def _told(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
