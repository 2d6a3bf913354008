"""Every model of torchvision and timm folded: which norms stay, how many torch's own ``fuse`` folds, and what is rounding.

``python -m benchmarks.fused.folding --rows rows.jsonl --write benchmarks/results/folding.md``. A rows file keeps what was measured, so that
an interrupted sweep goes on.

Each model gets random numbers in its norms (:func:`benchmarks.fused.folding_models.randomised`), is run in float32 and in float64,
both are folded by the same candidates, and run again. Errors are the largest difference of an output from that of the original in float64,
relative to the largest entry of that output: of the original in float32, of the folded in float32, and of the folded in float64, which is
free of rounding but for 1e-12 or so and shows whether the function is the same. Of detectors the outputs of backbone and heads are
compared, since which boxes are chosen of them hangs on the last digit. Large models that keep no running statistics are only counted.

The numbers are *mild* for every model: running statistics off from those of the values by up to half, so that what goes through the model
neither grows nor shrinks much. That setting was chosen after seeing that rounding drowns everything in others. The first model of each file
of source code, and those named after ``--harsh``, are measured with *harsh* ones as well: the very mean and variance of the values that
each norm is given, as one forward in training mode leaves them with a momentum of one, and scales of both signs.

Two judgements come from elsewhere: what ``torch.fx.experimental.optimization.fuse`` folds, and which norms are legal by the graph that
autograd records (:mod:`benchmarks.fused.folding_oracle`), by name.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks.fused.folding_errors import fold
from benchmarks.fused.folding_models import arguments_of, built, first_of_files, in_turn, inputs_of, randomised, traced
from benchmarks.fused.folding_oracle import legal
from benchmarks.fused.folding_table import table
from benchmarks.zoo.isolated import run_isolated
from benchmarks.zoo.names import Entry, entries

__all__ = ["main", "measure"]

_MEMORY = 8 * 2**30
_USUAL_SIDE = 224
"""Width of the input above which a model without norms is only looked at."""
_LARGE = 30_000_000
"""Parameters from which on a model without running statistics is only counted: it has no norm to fold, at most a constant factor."""
_GRAPH = 1 << 28
"""Parameters above which no graph is recorded: it would keep every value of the run."""


def main() -> None:
    """Sweep, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("families", nargs="*", default=["torchvision", "timm"])
    parser.add_argument("--only", nargs="+", help="models whose name contains one of these")
    parser.add_argument("--every", type=int, default=1, help="only each N-th model")
    parser.add_argument("--harsh", nargs="+", default=[], help="models to measure with harsh statistics, beside the first of each file")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one model")
    parser.add_argument("--rows", type=Path, help="file of JSON lines that keeps what was measured")
    parser.add_argument("--write", type=Path, help="markdown file to write")
    parser.add_argument("--note", default="", help="a sentence for the page: what came between, or was left out")
    parser.add_argument("--page", action="store_true", help="only write the page, from the rows there are")
    told = parser.parse_args()
    every = [entry for family in told.families for entry in entries(family)[:: told.every]]
    chosen = [entry for entry in every if not told.only or any(part in entry.name for part in told.only)]
    rows = _swept(told, chosen)
    text = table(rows, len(chosen), _command(told), told.note)
    print(text)
    if told.write:
        told.write.write_text(text, encoding="utf-8")


def _command(told: argparse.Namespace) -> str:
    """Without what says where results are kept."""
    only, harsh = (f" --{name} {' '.join(given)}" if given else "" for name, given in (("only", told.only), ("harsh", told.harsh)))
    every = f" --every {told.every}" if told.every > 1 else ""
    return f"python -m benchmarks.fused.folding {' '.join(told.families)}{only}{every}{harsh}"


def _swept(told: argparse.Namespace, chosen: list[Entry]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if told.rows and told.rows.exists():
        rows = [json.loads(line) for line in told.rows.read_text(encoding="utf-8").splitlines()]
    known = {(row["family"], row["name"]) for row in rows}
    missing = [] if told.page else in_turn([entry for entry in chosen if (entry.family, entry.name) not in known])
    harsh = {*first_of_files(chosen), *(entry for entry in chosen if entry.name in told.harsh)}
    _prepare()
    jobs = [(entry, entry in harsh) for entry in missing]
    with told.rows.open("a", encoding="utf-8") if told.rows else contextlib.nullcontext(io.StringIO()) as file:
        for done, outcome in enumerate(run_isolated(_measured, jobs, jobs=told.jobs, timeout=told.timeout, memory=_MEMORY)):
            entry: Entry = outcome.argument[0]
            row = outcome.value or {"family": entry.family, "name": entry.name, "problem": outcome.error}
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"\r{done + 1}/{len(missing)} {entry.name:<40}", end="", flush=True)
    print()
    wanted = {(entry.family, entry.name) for entry in chosen}
    return sorted((row for row in rows if (row["family"], row["name"]) in wanted), key=lambda row: (row["family"], row["name"]))


def _prepare() -> None:
    """Import what every forked process needs, once."""
    import timm  # noqa: F401, PLC0415
    import torch  # noqa: PLC0415
    import torch.fx.experimental.optimization  # noqa: PLC0415
    import torchvision  # noqa: F401, PLC0415

    import normadvisor.optimization.folding.finders  # noqa: PLC0415
    import normadvisor.targets.inputs  # noqa: F401, PLC0415

    torch.set_num_threads(1)


def _measured(job: tuple[Entry, bool]) -> dict[str, Any]:
    return measure(job[0], harsh=job[1])


def measure(entry: Entry, *, harsh: bool = False) -> dict[str, Any]:
    """One model in this process, which should be the model's own."""
    row: dict[str, Any] = {"family": entry.family, "name": entry.name}
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _fill(row, entry, harsh=harsh)
        except Exception as error:  # noqa: BLE001 - the point is to list whatever goes wrong
            row["problem"] = f"{type(error).__name__}: {error}"[:400]
    row["seconds"] = round(time.perf_counter() - started, 1)
    return row


def _fill(row: dict[str, Any], entry: Entry, *, harsh: bool) -> None:
    try:
        model = built(entry, "meta")
    except Exception:  # noqa: BLE001 - some read values while they are built
        model = built(entry, "cpu")
    normed = any(key.endswith("running_var") for key, _ in model.named_buffers())
    if not normed and sum(value.numel() for value in model.parameters()) > _LARGE:
        row["norms"] = 0
        return
    shape, graph = traced(model, entry)
    row["input"] = "x".join(map(str, shape))
    if not normed:
        row["norms"], row["folds"] = 0, _count(model, graph, shape)
        if not row["folds"] or shape[-1] > _USUAL_SIDE:
            return
    else:
        row["fx"] = _fused_by_torch(model)
    large = sum(value.numel() for value in model.parameters()) > _LARGE
    del model, graph
    if large:
        gc.collect()
    _run(row, entry, shape)
    if harsh and row["norms"]:
        row["harsh"] = fold(_ready(entry, shape, "harsh"), entry, shape).errors


def _count(model: Any, graph: Any, shape: tuple[int, ...]) -> int:
    """How many constant factors can be folded in a model without norms."""
    import torch  # noqa: PLC0415

    from normadvisor.optimization.candidate import Candidate, Setting  # noqa: PLC0415
    from normadvisor.optimization.folding.finders import FINDERS  # noqa: PLC0415

    inputs = inputs_of(shape)
    if next(model.parameters()).is_meta:
        inputs.args = tuple(value.to("meta") for value in inputs.args)
    setting = Setting(mode="inference", device=torch.device("cpu"), dtype=torch.float32, inputs=inputs)
    finders = [finder for stage, finder in FINDERS if stage == "fold"]
    return sum(isinstance(item, Candidate) for finder in finders for item in finder(model, graph, setting))


def _fused_by_torch(model: Any) -> int | str:
    """How many norms torch's own tool folds; why it does not run."""
    import torch  # noqa: PLC0415
    from torch import fx, nn  # noqa: PLC0415
    from torch.fx.experimental.optimization import fuse  # noqa: PLC0415

    def count(graph_module: Any) -> int:
        norms = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
        modules = dict(graph_module.named_modules())
        return sum(node.op == "call_module" and isinstance(modules[node.target], norms) for node in graph_module.graph.nodes)

    try:
        with torch.no_grad():
            before = fx.symbolic_trace(model)
            return count(before) - count(fuse(before))
    except Exception as error:  # noqa: BLE001 - whatever stops it
        return type(error).__name__


def _ready(entry: Entry, shape: tuple[int, ...], how: str) -> Any:
    import torch  # noqa: PLC0415

    torch.manual_seed(0)
    model = built(entry, "cpu")
    randomised(model, arguments_of(entry, shape), how)
    return model


def _run(row: dict[str, Any], entry: Entry, shape: tuple[int, ...]) -> None:
    model = _ready(entry, shape, "mild")
    judged: dict[str, str] = {}
    if sum(value.numel() for value in model.parameters()) < _GRAPH:
        try:
            judged = legal(model, arguments_of(entry, shape))
            row["legal"] = len(judged)
        except RuntimeError as error:
            row["autograd"] = str(error)[:120]
    found = fold(model, entry, shape)
    row["norms"], row["folded"] = len(found.ran), len(found.ran) - len(found.left)
    row["left"], row["kinds"], row["errors"] = found.left, found.kinds, found.errors
    if "legal" in row:
        row["missed"] = {name: kind for name, kind in judged.items() if name in found.left}
        row["beyond"] = [name for name in found.ran if name not in found.left and name not in judged]


if __name__ == "__main__":
    main()
