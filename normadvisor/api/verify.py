"""Compares a model with what it was before its source was edited. In the worker."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.api.examine import Examined, examine, failed, problem_of, trace_built
from normadvisor.api.imported import imported_files
from normadvisor.api.job import Contents, Job, ModelJob, ProofRequest
from normadvisor.api.registries import unregister
from normadvisor.errors import NormAdvisorError
from normadvisor.files.overlay import set_overlay
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof.result import Proof
from normadvisor.targets.build import Built, build
from normadvisor.targets.load import load
from normadvisor.targets.overlay import forget_modules, importing_overlaid
from normadvisor.types import Operation

if TYPE_CHECKING:
    import torch

    from normadvisor.api.edits import EditWriter
    from normadvisor.api.examine import Traced
    from normadvisor.rulebook.model import Rule

__all__ = ["files_as", "verify"]


@contextmanager
def files_as(contents: Contents) -> Iterator[None]:
    """Give files these contents for reading and for importing, and those of no overlay before."""
    set_overlay({Path(path): data for path, data in contents})
    with importing_overlaid():
        yield


_LARGE = 20_000_000
"""Numbers held from which a model is not compared by running it where nothing in its graph or its layers has changed."""


@dataclass(frozen=True, slots=True)
class _Version:
    """A model before or after the edits."""

    built: Built
    traced: Traced


@dataclass(frozen=True, slots=True)
class _Compared:
    """What comparing two versions gave."""

    proof: Proof | None = None
    key_map: KeyMap | None = None
    unchanged: bool = False


def verify(
    model: ModelJob, rules: Sequence[Rule], job: Job, phase: Callable[[str], None], *, edits: EditWriter, seconds: float
) -> Examined:
    """Build a model before and after its source was edited, compare the two, and look at the latter.

    Args:
        model: the model.
        rules: rules of scope ``graph``.
        job: says the contents of files before (in its proof request) and after (its overlay).
        phase: told each phase as it begins; the caller has told ``importing``.
        edits: writes the fixes of what is found in the edited source.
        seconds: what comparing may take.

    Returns:
        What was found in the edited model, with the proof, and how the keys of its state changed. What is wrong with the model before
        stands in the proof; what is wrong with the edited one is a problem.

    """
    request = job.proof
    if request is None:
        raise AssertionError  # the caller asks for a proof
    name = str(model.target)
    since = set(sys.modules)
    with files_as(request.base):
        original = _original(model, phase)
    with files_as(job.overlay):
        unregister(forget_modules(since))
        phase("importing")
        try:
            built = _built(model, phase)
            phase("tracing")
            known = trace_built(built, target=name, inputs=model.inputs, context=model.context)
            compared = _compared(original, _Version(built, known), request, phase, seconds)
            result = examine(
                built.model, rules, target=name, inputs=model.inputs, context=model.context, root=model.root, sites=built.sites,
                defined_at=built.defined_at, show_graph=job.show_graph, phase=phase, edits=edits, conversion=job.conversion, known=known,
            )  # fmt: skip
        except NormAdvisorError as error:
            return failed(name, problem_of(error, name))
        files = imported_files(model.root) if job.list_files else ()
    return replace(
        result, notes=(*built.notes, *result.notes), proof=compared.proof, key_map=compared.key_map, unchanged=compared.unchanged,
        files=files,
    )  # fmt: skip


def _built(model: ModelJob, phase: Callable[[str], None]) -> Built:
    loaded = load(model.target)
    gc.enable()
    phase("building")
    return build(loaded)


def _original(model: ModelJob, phase: Callable[[str], None]) -> _Version | Proof:
    """The model before; what is wrong with it as a proof that there cannot be."""
    try:
        built = _built(model, phase)
        phase("tracing")
        return _Version(built, trace_built(built, target=str(model.target), inputs=model.inputs, context=model.context))
    except NormAdvisorError as error:
        return _unprovable(f"it could not be checked before: {error.message}")


def _compared(
    original: _Version | Proof, edited: _Version, request: ProofRequest, phase: Callable[[str], None], seconds: float
) -> _Compared:
    """The proof where one is asked, and how the keys changed where that can be told."""
    from normadvisor.rewrite.proof import align, prove, unchanged
    from normadvisor.rewrite.proof.words import told

    if isinstance(original, Proof):
        return _Compared(original)
    before, after = original.built.model, edited.built.model
    if not request.changes and unchanged(before, after, (original.traced.graph, edited.traced.graph)):
        return _Compared(unchanged=True)
    untouched = not request.changes and _is_same(original, edited)
    if untouched and _is_large(before):
        return _Compared(unchanged=True)
    phase("proving")
    key_map: KeyMap | None = None
    try:
        key_map = align(before, after, _operations(request), original.traced.graph)
        if not request.equal:
            return _Compared(key_map=key_map)
        if original.traced.inputs is None:
            return _Compared(None if untouched else _unprovable("it was traced without inputs"), key_map, untouched)
        parts = [_parts([operation]) for operation in _operations(request)]
        proof = prove(
            before, after, original.traced.inputs, key_map, parts=parts, draws=request.draws, seed=request.seed, seconds=seconds
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - the target's code may raise anything; what cannot be compared is not proven
        if untouched:
            return _Compared(unchanged=True)
        return _Compared(_unprovable(f"comparing it failed: {told(error)}") if request.equal else None, key_map)
    else:
        # What cannot be compared by running it, and has the same graph as before, is not what the edits are about.
        return _Compared(unchanged=True) if untouched and not proof.provable else _Compared(proof, key_map)


def _is_same(original: _Version, edited: _Version) -> bool:
    """Whether a model has the same graph, constants included, and the same layers with the same arguments as before."""
    before, after = original.built.model, edited.built.model
    graphs = (original.traced.graph.fx_graph, edited.traced.graph.fx_graph)
    return None not in graphs and str(graphs[0]) == str(graphs[1]) and repr(before) == repr(after) and _shapes(before) == _shapes(after)


def _is_large(model: torch.nn.Module) -> bool:
    return sum(shape.numel() for _, shape, _ in _shapes(model) if shape is not None) >= _LARGE


def _shapes(model: torch.nn.Module) -> list[tuple[str, torch.Size | None, torch.dtype]]:
    """What a model holds; no shape where it is not known before the first pass."""
    from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

    unknown = (UninitializedParameter, UninitializedBuffer)
    found = (item for named in (model.named_parameters(), model.named_buffers()) for item in named)
    return [(name, None if isinstance(tensor, unknown) else tensor.shape, tensor.dtype) for name, tensor in found]


def _operations(request: ProofRequest) -> list[Operation]:
    """All operations, each once: fixes of one text that builds layers of several findings share theirs."""
    found: list[Operation] = []
    for change in request.changes:
        found += [operation for operation in change if operation not in found]
    return found


def _parts(operations: Sequence[Operation]) -> list[str]:
    """The modules that operations change."""
    parts = (part for operation in operations for part in (operation.part, operation.other) if part is not None)
    return list(dict.fromkeys(part.module for part in parts))


def _unprovable(reason: str) -> Proof:
    return Proof(equal=False, provable=False, reason=reason)
