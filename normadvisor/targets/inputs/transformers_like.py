"""Guesses from a configuration's attributes, the signature of ``forward`` and ``main_input_name``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.targets.inputs.flow import inner_parameters
from normadvisor.targets.inputs.layers import BATCH, SEQUENCE
from normadvisor.targets.inputs.plan import Plan
from normadvisor.targets.inputs.spec import TensorSpec, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["plans"]


def plans(model: nn.Module) -> Iterator[Plan]:
    """Guesses, the likeliest first."""
    config = model.config
    parameters = inner_parameters(model)
    values: dict[str, Value] = {}
    text = getattr(config, "text_config", None) or config
    vocabulary = getattr(text, "vocab_size", None) or 100
    if "input_ids" in parameters:
        values["input_ids"] = TensorSpec((BATCH, SEQUENCE), "int64", high=min(int(vocabulary), 100))
    if "decoder_input_ids" in parameters:
        values["decoder_input_ids"] = TensorSpec((BATCH, SEQUENCE), "int64", high=min(int(vocabulary), 100))
    if "pixel_values" in parameters:
        vision = getattr(config, "vision_config", None) or config
        size = getattr(vision, "image_size", 224)
        height, width = size if isinstance(size, list | tuple) else (size, size)
        values["pixel_values"] = TensorSpec((BATCH, getattr(vision, "num_channels", 3), height, width))
    if values:
        yield Plan((), values, "the model's configuration")
