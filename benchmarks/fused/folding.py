"""Every model of torchvision and timm folded: how many norms, how many torch's own ``fuse`` folds, and how far the outputs move.

``python -m benchmarks.fused.folding --rows rows.jsonl --write benchmarks/results/folding.md``. A rows file keeps what was measured, so that
an interrupted sweep goes on.

For each model the finders look at a trace. The model then gets random running statistics (near those of what the norms are given), scales
(three in ten negative) and shifts, is run in float32, folded, and run again. The error is the largest difference of an output, relative to
the largest entry of that output; of detectors the outputs of backbone and heads are compared, since which boxes are chosen of them hangs on
the last digit. Where the error is above 1e-5, the same is done in float64, which tells rounding from a fault. Large models that keep no
running statistics are only counted.

Two counts come from elsewhere: what ``torch.fx.experimental.optimization.fuse`` folds, and the pairs in the graph that autograd records of
a run: a batch norm whose input is, reshaped at most, the output of a convolution or linear layer that nothing else uses.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import io
import json
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.fused.folding_models import arguments_of, built, in_turn, inputs_of, randomised, traced
from benchmarks.fused.folding_table import table
from benchmarks.zoo.isolated import run_isolated
from benchmarks.zoo.names import Entry, entries

__all__ = ["main", "measure"]

_MEMORY = 8 * 2**30
_SUSPICIOUS = 1e-5
"""Relative error in float32 from which on the same is done in float64."""
_USUAL_SIDE = 224
"""Width of the input above which a model without norms is only looked at."""
_ROUNDS = 4
"""How often a stage is gone through, as the command does it: what was folded may be folded once more."""
_LARGE = 30_000_000
"""Parameters from which on a model without running statistics is only counted: it has no norm to fold, at most a constant factor."""


def main() -> None:
    """Sweep, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("families", nargs="*", default=["torchvision", "timm"])
    parser.add_argument("--only", help="models whose name contains this")
    parser.add_argument("--every", type=int, default=1, help="only each N-th model")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one model")
    parser.add_argument("--rows", type=Path, help="file of JSON lines that keeps what was measured")
    parser.add_argument("--write", type=Path, help="markdown file to write")
    parser.add_argument("--page", action="store_true", help="only write the page, from the rows there are")
    told = parser.parse_args()
    chosen = [entry for family in told.families for entry in entries(family)[:: told.every] if not told.only or told.only in entry.name]
    rows = _swept(told, chosen)
    text = table(rows, len(chosen))
    print(text)
    if told.write:
        told.write.write_text(text, encoding="utf-8")


def _swept(told: argparse.Namespace, chosen: list[Entry]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if told.rows and told.rows.exists():
        rows = [json.loads(line) for line in told.rows.read_text(encoding="utf-8").splitlines()]
    known = {(row["family"], row["name"]) for row in rows}
    missing = [] if told.page else in_turn([entry for entry in chosen if (entry.family, entry.name) not in known])
    _prepare()
    with told.rows.open("a", encoding="utf-8") if told.rows else contextlib.nullcontext(io.StringIO()) as file:
        for done, outcome in enumerate(run_isolated(measure, missing, jobs=told.jobs, timeout=told.timeout, memory=_MEMORY)):
            entry: Entry = outcome.argument
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


def measure(entry: Entry) -> dict[str, Any]:
    """One model in this process, which should be the model's own."""
    row: dict[str, Any] = {"family": entry.family, "name": entry.name}
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _fill(row, entry)
        except Exception as error:  # noqa: BLE001 - the point is to list whatever goes wrong
            row["problem"] = f"{type(error).__name__}: {error}"[:400]
    row["seconds"] = round(time.perf_counter() - started, 1)
    return row


def _fill(row: dict[str, Any], entry: Entry) -> None:
    try:
        model = built(entry, "meta")
    except Exception:  # noqa: BLE001 - some read values while they are built
        model = built(entry, "cpu")
    if (
        not any(key.endswith("running_var") for key, _ in model.named_buffers())
        and sum(value.numel() for value in model.parameters()) > _LARGE
    ):
        row["norms"] = 0
        return
    shape, graph = traced(model, entry)
    row["input"] = "x".join(map(str, shape))
    norms = [node for node in graph.nodes if node.op == "batch_norm"]
    row["norms"] = len(norms)
    row["fx"] = _fused_by_torch(model) if norms else 0
    candidates, refused = _found(model, graph, shape)
    row["folds"] = len(candidates)
    if not norms and shape[-1] > _USUAL_SIDE:
        return
    row["refused"] = Counter(item.reason for item in refused)
    if not candidates and not norms:
        return
    del model, graph, candidates
    gc.collect()
    _run(row, entry, shape)


def _found(model: Any, graph: Any, shape: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    import torch  # noqa: PLC0415

    from normadvisor.optimization.candidate import Candidate, Setting  # noqa: PLC0415
    from normadvisor.optimization.folding.finders import FINDERS  # noqa: PLC0415

    inputs = inputs_of(shape)
    if next(model.parameters()).is_meta:
        inputs.args = tuple(value.to("meta") for value in inputs.args)
    setting = Setting(mode="inference", device=torch.device("cpu"), dtype=torch.float32, inputs=inputs)
    found = [item for stage, finder in FINDERS if stage == "fold" for item in finder(model, graph, setting)]
    return [item for item in found if isinstance(item, Candidate)], [item for item in found if not isinstance(item, Candidate)]


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


def _run(row: dict[str, Any], entry: Entry, shape: tuple[int, ...]) -> None:
    import torch  # noqa: PLC0415

    model = built(entry, "cpu")
    arguments = arguments_of(entry, shape)
    randomised(model, arguments)
    small = sum(value.numel() for value in model.parameters()) < 1 << 28
    spare = copy.deepcopy(model) if small else None
    row["pairs"] = _seen_by_autograd(model, arguments, row)
    row["folded"], row["error"] = _folded(model, entry, shape, torch.float32)
    del model
    if row["error"] > _SUSPICIOUS and spare is not None:
        with contextlib.suppress(RuntimeError):  # Some compute positions in float32 whatever they are given.
            _, row["error64"] = _folded(spare.double(), entry, shape, torch.float64)


def _folded(model: Any, entry: Entry, shape: tuple[int, ...], dtype: Any) -> tuple[int, float]:
    """How many norms were folded, and the error."""
    import torch  # noqa: PLC0415

    from normadvisor.graph import trace  # noqa: PLC0415
    from normadvisor.optimization.candidate import Candidate, Setting  # noqa: PLC0415
    from normadvisor.optimization.folding.finders import FINDERS  # noqa: PLC0415
    from normadvisor.rewrite.model.journal import Journal  # noqa: PLC0415
    from normadvisor.targets.inputs import Inputs  # noqa: PLC0415
    from normadvisor.types.optimization import STAGES  # noqa: PLC0415

    arguments = arguments_of(entry, shape, dtype)
    before = _outputs(model, arguments)
    inputs = Inputs(args=arguments, given=True)
    setting = Setting(mode="inference", device=torch.device("cpu"), dtype=dtype, inputs=inputs)
    norms = _norm_calls(model, arguments)
    graph = None
    for stage in STAGES:
        finders = [finder for of, finder in FINDERS if of == stage]
        for _ in range(_ROUNDS):
            changed = False
            for finder in finders:
                graph = graph or trace(model, inputs, target=entry.name, sites={}, mode="eval")
                candidates = [found for found in finder(model, graph, setting) if isinstance(found, Candidate)]
                while candidates:  # Each is let go, so that memory holds the old weights of one at a time.
                    candidates.pop(0).apply(model, Journal())
                    graph, changed = None, True
            if not changed:
                break
    after = _outputs(model, arguments)
    if len(before) != len(after) or any(a.shape != b.shape for a, b in zip(after, before, strict=True)):
        return norms - _norm_calls(model, arguments), float("inf")
    errors = [_error(a, b) for a, b in zip(after, before, strict=True) if b.numel()]
    return norms - _norm_calls(model, arguments), max(errors, default=0.0)


def _outputs(model: Any, arguments: tuple[Any, ...]) -> list[Any]:
    """What the model gives; of detectors what the backbone and the heads give, since which boxes are chosen hangs on the last digit."""
    import torch  # noqa: PLC0415

    if not (hasattr(model, "backbone") and hasattr(model, "transform")):
        with torch.no_grad():
            return _tensors(model(*arguments))
    found: list[Any] = []
    parts = [
        model.backbone,
        *(part for name in ("head", "rpn") if (part := getattr(getattr(model, name, None), "head", getattr(model, name, None)))),
    ]
    handles = [part.register_forward_hook(lambda _module, _args, result: found.extend(_tensors(result))) for part in parts]
    try:
        with torch.no_grad():
            model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _error(after: Any, before: Any) -> float:
    import torch  # noqa: PLC0415

    if not bool(torch.isfinite(before).all()):
        return float("nan")
    scale = float(before.abs().max())
    return float((after - before).abs().max()) / scale if scale else float((after - before).abs().max())


def _tensors(value: Any) -> list[Any]:
    from normadvisor.graph.values import tensors_in  # noqa: PLC0415

    return [tensor.detach().clone() for tensor in tensors_in(value) if tensor.is_floating_point()]


def _norm_calls(model: Any, arguments: tuple[Any, ...]) -> int:
    """How often torch's batch norm runs, whoever calls it."""
    import torch  # noqa: PLC0415
    import torch.nn.functional as F  # noqa: PLC0415
    from torch.overrides import TorchFunctionMode  # noqa: PLC0415

    class Count(TorchFunctionMode):
        calls = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            weight = [value for value in args if isinstance(value, torch.nn.Parameter)]
            self.calls += func is F.batch_norm and not (weight and weight[0] is args[0])
            return func(*args, **(kwargs or {}))

    with Count() as counted, torch.no_grad():
        model(*arguments)
    return counted.calls


_MOVING = (
    "View", "Reshape", "Permute", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "ToCopy", "Clone", "Alias", "UnsafeView",
)  # fmt: skip


def _seen_by_autograd(model: Any, arguments: tuple[Any, ...], row: dict[str, Any]) -> int | None:
    """Batch norms whose input is the output of one layer with weights, which nothing else uses, by the graph that autograd records."""
    if sum(value.numel() for value in model.parameters()) > 1 << 28:
        return None
    model.requires_grad_(True)
    try:
        outputs = _roots(model(*arguments))
    except RuntimeError as error:
        row["autograd"] = str(error)[:120]
        return None
    users: Counter[Any] = Counter(outputs)
    nodes = list(dict.fromkeys(outputs))
    seen = set(nodes)
    for node in nodes:
        for source, _ in node.next_functions:
            if source is not None:
                users[source] += 1
                if source not in seen:
                    seen.add(source)
                    nodes.append(source)
    names = {id(value): name for name, value in model.named_parameters()}
    pairs = [name for node in nodes if _uses_stored(node) and (name := _pair(node, users, names))]
    row["pair_names"] = pairs
    return len(pairs)


def _uses_stored(node: Any) -> bool:
    """Whether a node is a batch norm with running statistics; an instance norm runs as one that has none."""
    return "BatchNorm" in type(node).__name__ and not getattr(node, "_saved_training", False)


def _roots(value: Any) -> list[Any]:
    from normadvisor.graph.values import tensors_in  # noqa: PLC0415

    return [tensor.grad_fn for tensor in tensors_in(value) if tensor.grad_fn is not None]


def _pair(norm: Any, users: Counter[Any], names: dict[int, str]) -> str:
    node = norm.next_functions[0][0]
    while node is not None and users[node] == 1:
        kind = type(node).__name__.removesuffix("Backward0")
        if kind in {"Convolution", "ConvolutionOverrideable", "MkldnnConvolution", "SlowConvTranspose2D", "Addmm", "Mm", "Linear"}:
            held = [_parameter(source) for source, _ in node.next_functions if source is not None]
            return next((names[id(value)] for value in held if value is not None and value.dim() > 1 and id(value) in names), "")
        if not kind.startswith(_MOVING):
            return ""
        node = node.next_functions[0][0]
    return ""


def _parameter(node: Any) -> Any:
    if type(node).__name__ == "TBackward0":
        node = node.next_functions[0][0]
    return getattr(node, "variable", None)


if __name__ == "__main__":
    main()
