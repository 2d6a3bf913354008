"""One model of a zoo: built, traced, matched, and its graph held against what really ran."""

from __future__ import annotations

import contextlib
import io
import resource
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.zoo.names import Entry
from benchmarks.zoo.written import written_places
from normadvisor.api.examine import matched
from normadvisor.errors import NormAdvisorError, TraceError
from normadvisor.graph import trace
from normadvisor.graph.model import ModelGraph
from normadvisor.rulebook import load_rules
from normadvisor.rulebook.catalogue import select_rules
from normadvisor.targets.build import build
from normadvisor.targets.inputs import Inputs, candidate_inputs
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target
from normadvisor.types import GROUPS, RunContext

__all__ = ["Measured", "measure"]

_BOOK = load_rules()
"""Read once, before the processes that measure are forked."""


@dataclass(slots=True)
class Measured:
    """What one model gave. ``stage`` is the last one reached: ``load``, ``build``, ``trace``, ``match`` or ``done``."""

    family: str
    name: str
    stage: str = "load"
    error: str | None = None
    trace: str = "none"
    mode: str = ""
    inputs: str = ""
    nodes: int = 0
    nodes_with_line: int = 0
    norms_run: int | None = None
    norms_found: int = 0
    missed_norms: list[str] = field(default_factory=list)
    build_seconds: float = 0.0
    trace_seconds: float = 0.0
    match_seconds: float = 0.0
    memory: float = 0.0
    findings: list[dict[str, Any]] = field(default_factory=list)
    written: list[dict[str, Any]] = field(default_factory=list)
    """What is written out by hand, as far as a rule asked for it."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def _traced(model: nn.Module, entry: Entry, built: Any) -> tuple[ModelGraph, Inputs]:
    candidates = candidate_inputs(model, [], RunContext())
    inputs = next(candidates)
    while True:
        try:
            return trace(model, inputs, target=entry.target, sites=built.sites, defined_at=built.defined_at), inputs
        except TraceError as error:
            inputs = candidates.send(error.__cause__ or error)


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__ and not any(True for _ in module.children()) and "Identity" not in type(module).__name__


def _norms_that_run(model: nn.Module, inputs: Inputs, mode: str) -> set[str] | None:
    """Qualified names of the norm modules that a plain run calls, seen by forward hooks; ``None`` if a plain run fails.

    Independent of the tracers: a childless module whose class name holds ``Norm`` counts.
    """
    ran: set[int] = set()
    handles = [module.register_forward_pre_hook(lambda m, _args: ran.add(id(m))) for module in model.modules() if _is_norm(module)]
    model.train(mode == "train")
    try:
        with torch.no_grad():
            model(*inputs.args, **inputs.kwargs)
    except Exception:  # noqa: BLE001 - any model may fail outside the tracer, for instance when it reads values of meta tensors
        return None
    finally:
        for handle in handles:
            handle.remove()
    return {name for name, module in model.named_modules() if id(module) in ran}


def measure(entry: Entry, select: Sequence[str] = ()) -> dict[str, Any]:
    """Measure one model in this process, which should be the model's own.

    Args:
        entry: the model.
        select: ids of rules or their beginnings; empty for those that are on by default.

    Returns:
        The fields of :class:`Measured`; times in seconds, peak resident memory in MiB.

    """
    row = Measured(entry.family, entry.name)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _fill(row, entry, select)
        except NormAdvisorError as error:
            row.error = f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001 - the point is to list whatever goes wrong
            row.error = f"{type(error).__name__}: {error}"
    row.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row.as_dict()


def _fill(row: Measured, entry: Entry, select: Sequence[str]) -> None:
    loaded = load(parse_target(entry.target, Path.cwd()))
    row.stage = "build"
    started = time.perf_counter()
    built = build(loaded)
    row.build_seconds = time.perf_counter() - started
    row.stage = "trace"
    started = time.perf_counter()
    graph, inputs = _traced(built.model, entry, built)
    row.trace_seconds = time.perf_counter() - started
    row.trace, row.mode, row.inputs, row.nodes = str(graph.trace), graph.mode, inputs.spec, len(graph.nodes)
    operations = [node for node in graph.nodes if node.op not in {"input", "output", "param", "constant"}]
    row.nodes_with_line = sum(node.call_site is not None for node in operations) + len(graph.nodes) - len(operations)
    row.stage = "match"
    started = time.perf_counter()
    findings = matched(graph, built.model, select_rules(_BOOK, select=select), RunContext(), Path.cwd())
    row.match_seconds = time.perf_counter() - started
    row.findings = [finding.to_dict() for finding in findings]
    row.written = written_places(graph, built.model)
    row.stage = "done"
    ran = _norms_that_run(built.model, inputs, graph.mode)
    if ran is not None:
        found = {node.module for node in graph.nodes if node.op in {*GROUPS["norm"], "affine"}}
        row.norms_run, row.norms_found = len(ran), len(ran & found)
        row.missed_norms = sorted(ran - found)[:5]
