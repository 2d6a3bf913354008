from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from normadvisor.graph import ModelGraph, trace
from normadvisor.targets.inputs import Inputs
from normadvisor.types import TraceKind


@pytest.fixture
def follow() -> Callable[..., ModelGraph]:
    """Trace a model on the given arguments of ``forward``."""

    def run(model: nn.Module, *args: Any, tracer: TraceKind | None = None, given: bool = True, memory: int = 2**30, **kwargs: Any) -> ModelGraph:
        inputs = Inputs(args=args, kwargs=kwargs, spec="", given=given, why="")
        return trace(model, inputs, target="model", sites={}, tracer=tracer, memory=memory)

    return run


@pytest.fixture
def images() -> torch.Tensor:
    return torch.zeros(2, 3, 32, 32)


@pytest.fixture
def ops() -> Callable[[ModelGraph], list[str]]:
    """Canonical operations in order, without the ends, parameters and constants."""

    def read(graph: ModelGraph) -> list[str]:
        return [node.op for node in graph.nodes if node.op not in {"input", "output", "param", "constant"}]

    return read
