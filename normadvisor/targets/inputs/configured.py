"""Inputs of models that carry a configuration object, as in transformers; driven by its attributes, not by model names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.targets.inputs.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["configured_plans"]


def configured_plans(model: nn.Module) -> Iterator[Plan]:
    """Guesses from ``model.config``; nothing for a model without one."""
    if getattr(model, "config", None) is None:
        return
    from normadvisor.targets.inputs.transformers_like import plans

    yield from plans(model)
