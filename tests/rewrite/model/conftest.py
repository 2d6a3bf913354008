from __future__ import annotations

import copy
import gc
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from normadvisor.graph import ModelGraph, trace
from normadvisor.targets.inputs import Inputs
from normadvisor.types import Operation, OperationKind, Part

if TYPE_CHECKING:
    import torch
    from torch import nn


@pytest.fixture
def follow() -> Callable[..., ModelGraph]:
    """Trace a model on the given arguments of ``forward``."""

    def run(model: nn.Module, *args: Any) -> ModelGraph:
        return trace(model, Inputs(args=args, kwargs={}, spec="", given=True, why=""), target="model", sites={})

    return run


@pytest.fixture
def operation() -> Callable[..., Operation]:
    """An operation on the layer of a node: by the name of its module, or by the node itself."""

    def make(kind: str, graph: ModelGraph, of: str, other: str | None = None, *, call: int = 0, **fields: Any) -> Operation:
        return Operation(
            kind=OperationKind(kind), part=_part(graph, of, call), other=other if other is None else _part(graph, other, 0), **fields
        )

    return make


def _part(graph: ModelGraph, name: str, call: int) -> Part:
    runs = [node for node in graph.nodes if node.module == name and node.op not in {"param", "constant"}]
    if not runs:
        return Part(module=name, op=graph.modules[name].op or "")
    node = runs[call]
    return Part(module=name, node=node.name, op=node.op, is_layer=bool(node.cls))


def _digest(value: torch.Tensor) -> str:
    """Every bit of a tensor."""
    return hashlib.sha1(value.reshape(-1).contiguous().view(value.new_empty(0).byte().dtype).numpy().tobytes()).hexdigest()


@pytest.fixture
def snapshot() -> Callable[..., Any]:
    """Everything about a model and its optimizers that a change must leave or restore, compared by identity and by value."""

    def take(model: nn.Module, *optimizers: torch.optim.Optimizer) -> Any:
        gc.collect()
        modules = [
            (
                name, id(module), module.training, list(module._modules.items()), {k: id(v) for k, v in module._parameters.items()},
                {k: id(v) for k, v in module._buffers.items()}, {k: id(v) for k, v in vars(module).items() if k.endswith("hooks")},
                {k: repr(v) for k, v in vars(module).items() if not k.startswith("_")},
            )
            for name, module in model.named_modules(remove_duplicate=False)
        ]  # fmt: skip
        values = {key: _digest(value) for key, value in model.state_dict().items() if not value.is_meta}
        flags = {name: (value.requires_grad, value.dtype, value.device) for name, value in model.named_parameters()}
        groups = [[{**group, "params": [id(p) for p in group["params"]]} for group in optimizer.param_groups] for optimizer in optimizers]
        state = [{id(p): copy.deepcopy(repr(held)) for p, held in optimizer.state.items()} for optimizer in optimizers]
        return modules, values, flags, groups, state

    return take
