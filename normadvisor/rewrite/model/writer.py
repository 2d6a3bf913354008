"""The operations of a fix on a live model: layers put in place, an optimizer mended, keys told, all of it undone on demand."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from normadvisor.graph.model import ModelGraph
from normadvisor.rewrite.folding import FoldError, folds
from normadvisor.rewrite.keys import Fold, KeyMap
from normadvisor.rewrite.model.arguments import set_argument
from normadvisor.rewrite.model.change import Change, demand_initialized
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.optimizer import Newcomer, check_optimizers, mend
from normadvisor.rewrite.model.places import insert_layer, remove_layer, replace_layer, separate_layers, swap_layers
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.model.state import State
from normadvisor.rewrite.model.wrapping import wrap_layer
from normadvisor.types import Operation, OperationKind

__all__ = ["ModelChange", "change_model", "put_layers"]


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A change that was made to a model.

    The model is the same object as before, and so is every layer and every parameter that the change did not concern.
    """

    model: nn.Module
    key_map: KeyMap
    """From the keys of the model's ``state_dict`` before to those after."""
    notes: tuple[str, ...] = ()
    """What was not carried over: ``bn1: running_mean, running_var of BatchNorm2d left behind``."""
    _journal: Journal = field(default_factory=Journal, repr=False, compare=False)

    def undo(self) -> None:
        """Take the change back: layers, parameters, buffers that were folded into, and the optimizer's groups and state.

        Several changes of one model are undone in the opposite order. Steps that an optimizer has taken in between stay. A second call does
        nothing.
        """
        self._journal.undo()


def change_model(
    model: nn.Module,
    operations: Iterable[Operation],
    graph: ModelGraph,
    *,
    optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
) -> ModelChange:
    """Do what a fix says on the live model, in place.

    New layers get the device, the floating type, the mode and, if all the parameters they replace are frozen, the frozen parameters of
    their predecessors, and their forward and backward hooks. Values that mean the same in both stay the same ``Parameter``, so an
    optimizer keeps its state for them.

    Args:
        model: on any device; not compiled, scripted or wrapped for distributed training, but for ``DataParallel``.
        operations: done one after another; they name layers as they were called before the first of them.
        graph: a trace of the model as it is.
        optimizer: the one, or a list of those, that hold the model's parameters. What leaves the model leaves their groups and state, and
            what is new joins the group of the layer it replaces. Learning rate schedulers go on as they are.

    Raises:
        CannotChange: an operation cannot be done so; then nothing has been done.

    """
    listed = list({json.dumps(operation.to_dict(), sort_keys=True): operation for operation in operations}.values())

    def do(change: Change) -> tuple[Fold, ...]:
        folded = _fold(change, listed)
        covered: dict[tuple[str, str], set[str]] = defaultdict(set)
        for operation in listed:
            covered[operation.kind, operation.part.module].add(operation.part.node)
        done: set[tuple[str, str]] = set()
        for operation in listed:
            once = (operation.kind, operation.part.module)
            if operation.kind in _ONCE and once in done:
                continue
            done.add(once)
            _DO[operation.kind](operation, change, covered[once])
        return folded

    return _made(model, graph, optimizer, do)


def put_layers(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    *,
    optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
    origins: Iterable[tuple[torch.Tensor, torch.Tensor]] = (),
) -> ModelChange:
    """Put layers that are already built in the place of others, everywhere where those stand.

    They get the hooks of their predecessors and nothing else: parameters that should go on must be the same objects.

    Args:
        model: as for :func:`change_model`.
        layers: the new layer by the qualified name of the old one. A new layer may hold the old one.
        optimizer: as for :func:`change_model`.
        origins: pairs of a new tensor and an old one whose numbers were copied into it, which makes them the same value of the state.

    Raises:
        CannotChange: there is no such layer, or it stands where nothing can be put; then nothing has been done.

    """

    def do(change: Change) -> tuple[Fold, ...]:
        change.copies(list(origins))
        for name, new in layers.items():
            old = change.named(name)
            if old is not new:
                change.replace(name, old, new, hooks=all(inner is not old for inner in new.modules()))
        return ()

    return _made(model, None, optimizer, do)


def _made(model: nn.Module, graph: ModelGraph | None, optimizer: Any, do: Callable[[Change], tuple[Fold, ...]]) -> ModelChange:
    _demand_changeable(model)
    optimizers = check_optimizers(list(optimizer) if isinstance(optimizer, Iterable) else optimizer)
    change = Change.of(model, graph)
    before, held = State.of(model), dict(model.named_parameters())
    try:
        folded = do(change)
        after, now = State.of(model), dict(model.named_parameters())
        _mend(change, optimizers, held, now)
        keys = before.to(after, change.origins, folded)
    except BaseException:
        change.journal.undo()
        raise
    return ModelChange(model, keys, tuple(change.notes), change.journal)


def _demand_changeable(model: nn.Module) -> None:
    """Refuse models whose wrapper has taken stock of their layers or parameters."""
    if isinstance(model, torch.jit.ScriptModule):
        raise CannotChange(f"{type(model).__name__} is scripted, and its layers cannot be changed; change the model before it is scripted")
    for name, module in model.named_modules():
        told = f"{name} is" if name else "the model is"
        classes = {cls.__name__ for cls in type(module).__mro__}
        if "OptimizedModule" in classes or module._compiled_call_impl is not None:  # noqa: SLF001
            raise CannotChange(f"{told} compiled; change the model that torch.compile was given, and compile it again")
        wrapper = classes & {"DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule"}
        if wrapper:
            raise CannotChange(f"{told} wrapped in {wrapper.pop()}, which knows its parameters; change the model before it is wrapped")


def _fold(change: Change, operations: Collection[Operation]) -> tuple[Fold, ...]:
    """Do the folds on the live buffers; each once, however many keys it has."""
    if change.graph is None:
        return ()
    try:
        found = folds(change.graph, operations, change.model)
    except FoldError as error:
        raise CannotChange(error.message) from error
    model, stored = change.model, State.of(change.model).values
    state = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    done = []
    seen: set[tuple[int, int]] = set()
    for fold in found:
        if fold.source not in state:
            continue
        if fold.into not in state:
            raise CannotChange(f"the bias {fold.source} belongs into {fold.into}, which is no part of the model's state")
        source, into = state[fold.source], state[fold.into]
        for key in (fold.source, fold.into):
            demand_initialized(key.rpartition(".")[0], change.named(key.rpartition(".")[0]))
        if fold.into in stored:
            done.append(fold)
        if (id(source), id(into)) not in seen:
            seen.add((id(source), id(into)))
            change.journal.set_value(into, fold.folded(source, into))
    return tuple(done)


def _mend(
    change: Change, optimizers: Iterable[torch.optim.Optimizer], before: Mapping[str, nn.Parameter], after: Mapping[str, nn.Parameter]
) -> None:
    had, has = {id(value) for value in before.values()}, {id(value) for value in after.values()}
    gone = [value for value in before.values() if id(value) not in has]
    new = [
        Newcomer(name, value, change.instead.get(id(value)), change.near.get(id(value), []))
        for name, value in after.items()
        if id(value) not in had
    ]
    for optimizer in optimizers:
        mend(optimizer, gone, new, change.journal)


def _only_in_source(operation: Operation) -> None:
    """What a forward computes is no layer that could be put in place."""
    where = f"the forward of `{operation.part.module}`" if operation.part.module else "the model's forward"
    message = f"{operation.layer} takes the place of code in {where}, which is changed in its source"
    raise CannotChange(message, hint="normadvisor.optimize changes what a live model computes")


_Do = Callable[[Operation, Change, Collection[str]], None]
_DO: dict[OperationKind, _Do] = {
    OperationKind.SET_ARGUMENT: lambda operation, change, _: set_argument(operation, change),
    OperationKind.REPLACE_LAYER: lambda operation, change, _: replace_layer(operation, change),
    OperationKind.REMOVE_LAYER: remove_layer,
    OperationKind.SWAP_LAYERS: lambda operation, change, _: swap_layers(operation, change),
    OperationKind.INSERT_LAYER: insert_layer,
    OperationKind.SEPARATE_LAYERS: lambda operation, change, _: separate_layers(operation, change),
    OperationKind.WRAP_LAYER: lambda operation, change, _: wrap_layer(operation, change),
    OperationKind.USE_FUNCTION: lambda operation, _change, _covered: _only_in_source(operation),
}
_ONCE = frozenset(OperationKind) - {OperationKind.SET_ARGUMENT, OperationKind.SWAP_LAYERS}
"""Kinds that are told once for each run of a layer and done once for the layer."""
