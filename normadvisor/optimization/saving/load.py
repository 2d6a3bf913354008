"""Makes the changes of a saved plan again, and loads the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from normadvisor.optimization.finders import find
from normadvisor.optimization.prepared import Subject, prepared, traced
from normadvisor.optimization.saving.plan import CannotLoad, Change, Plan
from normadvisor.optimization.saving.save import EXTRA, METADATA
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.proof.words import told
from normadvisor.types.optimization import OptimizeOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from normadvisor.optimization.candidate import Candidate, Setting

__all__ = ["load", "read_plan"]


def read_plan(path: Path) -> Plan:
    """What was done to the model in a file.

    Raises:
        CannotLoad: it cannot be read, or holds no optimized model.

    """
    return _read(path)[0]


def load(subject: Subject, path: Path) -> nn.Module:
    """A model with the changes and the weights of a file.

    Args:
        subject: a model of the same architecture, with any weights, and inputs of the shapes that it was optimized with.
        path: written by :func:`~normadvisor.optimization.saving.save`.

    Returns:
        A copy in eval mode where the model was optimized for inference; for training the model itself, changed in place.

    Raises:
        CannotLoad: the file cannot be read, or the model is another one.

    """
    plan, values = _read(path)
    if values is None:
        message = f"{path} holds a program, which needs no model"
        raise CannotLoad(message, hint="torch.export.load(file).module() runs it")
    options = OptimizeOptions(mode=plan.mode, dtype=plan.dtype if plan.mode == "inference" else None)
    base, setting = prepared(subject, options)
    model, journal = subject.model if plan.mode == "training" else base, Journal()
    try:
        for _, turn in groupby(plan.changes, key=lambda change: (change.stage, change.turn)):
            _change(model, list(turn), subject, replace(setting, force=True), journal, path)
        model.load_state_dict({**values, **{key: values[other] for key, other in plan.aliases.items()}})
    except BaseException as error:
        journal.undo()
        if isinstance(error, RuntimeError | KeyError):
            raise CannotLoad(f"the weights in {path} do not fit the model: {told(error)}") from error
        raise
    return model


def _change(
    model: nn.Module, changes: Sequence[Change], subject: Subject, setting: Setting, journal: Journal, path: Path
) -> None:
    """Make the changes that were found in one trace.

    Raises:
        CannotLoad: one of them cannot be found in this model.

    """
    found = find(model, traced(model, subject, setting), setting, changes[0].stage)
    known: dict[Any, Candidate] = {(each.rule, each.pattern, each.replacement, each.modules): each for each in found.candidates}
    for change in changes:
        candidate = known.get(change.key)
        where = change.modules[0] if change.modules and change.modules[0] else "the model"
        what = f"{change.pattern} -> {change.replacement} at {where}"
        if candidate is None:
            reasons = [each.reason for each in found.refused if change.modules[:1] == each.modules[:1]]
            why = f": {reasons[0]}" if reasons else ""
            raise CannotLoad(f"{path} was saved with {what}, which is not possible in this model{why}")
        try:
            with torch.no_grad():
                candidate.apply(model, journal)
        except CannotChange as refusal:
            raise CannotLoad(f"{what} of {path} cannot be done again: {refusal.reason}") from refusal


def _read(path: Path) -> tuple[Plan, Mapping[str, torch.Tensor] | None]:
    """The plan, and the weights; ``None`` for a program."""
    readers = {".safetensors": _safetensors, ".pt": _torch, ".pt2": _program}
    reader = readers.get(path.suffix)
    if reader is None:
        raise CannotLoad(f"{path.name} is no file of an optimized model", hint=f"one that ends in {', '.join(readers)}")
    try:
        text, values = reader(path)
    except CannotLoad:
        raise
    except OSError as error:
        raise CannotLoad(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a damaged file makes its reader raise
        message = f"{path} holds no optimized model"
        raise CannotLoad(message, hint="it is damaged, or was not written by normadvisor optimize --save") from error
    return Plan.read(text, str(path)), values


def _safetensors(path: Path) -> tuple[str, Mapping[str, torch.Tensor] | None]:
    try:
        from safetensors import safe_open  # noqa: PLC0415 -- only who loads such files needs it
    except ImportError as error:
        raise CannotLoad("safetensors is not installed", hint="pip install safetensors") from error
    with safe_open(path, framework="pt") as file:
        text = str((file.metadata() or {}).get(METADATA, ""))
        return text, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 -- no mapping


def _torch(path: Path) -> tuple[str, Mapping[str, torch.Tensor] | None]:
    data = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(data, dict) or not isinstance(data.get(METADATA), str):
        raise CannotLoad(f"{path} holds no optimized model", hint="it was not written by normadvisor optimize --save")
    return data[METADATA], data["state_dict"]


def _program(path: Path) -> tuple[str, Mapping[str, torch.Tensor] | None]:
    extra = {EXTRA: ""}
    torch.export.load(path, extra_files=extra)
    return extra[EXTRA], None
