"""Inputs that a model's own metadata tells: timm's default configuration, torchvision's detection and flow models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normadvisor.targets.inputs.layers import BATCH, first_layer, layer_input
from normadvisor.targets.inputs.plan import Plan
from normadvisor.targets.inputs.spec import TensorSpec, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from normadvisor.types import RunContext

__all__ = ["metadata_plans"]


def metadata_plans(model: nn.Module, context: RunContext) -> Iterator[Plan]:
    """Guesses from metadata, the likeliest first; nothing for a model without any."""
    yield from _image_config(model)
    yield from _detector(model, context)


def _image_config(model: nn.Module) -> Iterator[Plan]:
    for name in ("pretrained_cfg", "default_cfg"):
        config = getattr(model, name, None)
        sizes = config.get("input_size") if isinstance(config, dict) else getattr(config, "input_size", None)
        if isinstance(sizes, tuple | list) and len(sizes) == 3 and all(isinstance(size, int) and size > 0 for size in sizes):
            channels = _image_channels(model) or sizes[0]
            yield Plan((TensorSpec((BATCH, channels, *sizes[1:])),), {}, f"{name}['input_size']")


def _image_channels(model: nn.Module) -> int | None:
    """Channels of the first layer, which the metadata does not follow when they are changed; ``None`` if it takes no image."""
    layer = first_layer(model)
    spec = layer_input(layer) if layer is not None else None
    return spec.shape[1] if spec is not None and len(spec.shape) == 4 and spec.shape[1] <= 4 else None


def _detector(model: nn.Module, context: RunContext) -> Iterator[Plan]:
    """Detectors in torchvision's manner take a list of images of any size, and in train mode a list of targets."""
    del context
    names = [name for name, _ in model.named_children()]
    if "transform" not in names or not {"backbone", "head", "roi_heads"} & set(names):
        return
    size = getattr(getattr(model, "transform", None), "fixed_size", None)
    height, width = (size[1], size[0]) if size else (320, 320)
    images: Value = [TensorSpec((3, height, width)), TensorSpec((3, height, width))]
    targets: Value = [_boxes(model), _boxes(model)]
    yield Plan((images, targets), {}, "a detector: a list of images, and boxes for its losses")
    yield Plan((images,), {}, "a detector: a list of images")


def _boxes(model: Any) -> dict[str, Value]:
    target: dict[str, Value] = {
        "boxes": TensorSpec((2, 4), values=(10.0, 10.0, 90.0, 90.0, 40.0, 40.0, 200.0, 180.0)),
        "labels": TensorSpec((2,), "int64", values=(1.0, 1.0)),
    }
    heads = getattr(model, "roi_heads", None)
    if getattr(heads, "mask_predictor", None) is not None:
        target["masks"] = TensorSpec((2, 320, 320), "uint8")
    predictor = getattr(heads, "keypoint_predictor", None)
    if predictor is not None:
        kinds = getattr(predictor, "kps_score_lowres", None)
        target["keypoints"] = TensorSpec((2, getattr(kinds, "out_channels", 17), 3))
    return target
