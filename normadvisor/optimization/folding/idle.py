"""Layers that do nothing in eval mode but cost a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from normadvisor.graph.leaves import hooked
from normadvisor.optimization.candidate import Candidate, Kernel, Setting, StateStep
from normadvisor.optimization.folding.flow import Flow
from normadvisor.optimization.folding.fold import RULE
from normadvisor.optimization.folding.live import Held, Live
from normadvisor.rewrite.model.journal import Journal
from normadvisor.types import GROUPS

__all__ = ["idle"]

_DROPPING = frozenset({*GROUPS["dropout_like"], "drop_path"})


def idle(flow: Flow, setting: Setting) -> Iterator[Candidate]:
    """Every dropout layer in eval mode that runs and has neither hooks nor a state."""
    seen: set[int] = set()
    for node in flow.graph.nodes:
        if node.op not in _DROPPING or not node.cls or node.training is not False or not node.module:
            continue
        module = flow.modules[node.module]
        if id(module) in seen or hooked(module) or module.state_dict() or flow.trouble(node.module) or len(flow.operands(node)) != 1:
            continue
        seen.add(id(module))
        yield Candidate(
            rule=RULE,
            pattern=f"{node.op.replace('_', ' ')} in eval mode",
            replacement="identity",
            modules=(node.module,),
            shape_key=f"{type(module).__name__} {node.in_shape} {setting.dtype}",
            apply=partial(_apply, name=node.module),
            kernel=_kernel(module, node.in_shape, setting),
        )


def _apply(model: nn.Module, journal: Journal, *, name: str) -> tuple[StateStep, ...]:
    Live(model, journal).put(name, nn.Identity())
    return ()


def _kernel(module: nn.Module, shape: tuple[int, ...] | None, setting: Setting) -> Callable[[], Kernel] | None:
    if shape is None:
        return None
    held = Held(module)

    def build() -> Kernel:
        x = torch.randn(shape, device=setting.device, dtype=setting.dtype)
        return Kernel(before=held.copied(), after=nn.Identity().eval(), arguments=(x,))

    return build
