"""The slice of torchvision and timm that is run: one model of each way of arranging convolutions, norms and activations."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

__all__ = ["MODELS", "SIDE", "build"]

SIDE = 224
"""Height and width of the images."""

MODELS = {
    "resnet50": "torchvision",
    "mobilenet_v3_large": "torchvision",
    "regnet_x_1_6gf": "torchvision",
    "densenet121": "torchvision",
    "convnext_tiny": "torchvision",
    "vit_small_patch16_224": "timm",
    "efficientnet_b0": "timm",
    "mobilenetv3_large_100": "timm",
    "regnetx_016": "timm",
    "resnetv2_50": "timm",
    "repvgg_a2": "timm",
    "mobileone_s1": "timm",
}
"""Name of each model, and the package that has it."""


def build(name: str, seed: int = 0) -> nn.Module:
    """A model in eval mode whose norms hold statistics of their own, so that leaving one out shows in the outputs.

    Raises:
        KeyError: there is no model of this name here.

    """
    package = MODELS[name]
    torch.manual_seed(seed)
    if package == "torchvision":
        import torchvision  # noqa: PLC0415 - only what is asked for is imported

        model: nn.Module = torchvision.models.get_model(name)
    else:
        import timm  # noqa: PLC0415 - as above

        model = timm.create_model(name)
    _give_statistics(model, torch.Generator().manual_seed(seed))
    return model.eval()


def _give_statistics(model: nn.Module, generator: torch.Generator) -> None:
    """Means, variances, scales and shifts of norms as training leaves them: near 0 and 1, and not equal to them."""
    with torch.no_grad():
        for held, low, high in _numbers(model):
            held.copy_(torch.rand(held.shape, generator=generator) * (high - low) + low)


def _numbers(model: nn.Module) -> Iterator[tuple[torch.Tensor, float, float]]:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for held, low, high in (
                (module.running_mean, -0.1, 0.1), (module.running_var, 0.8, 1.2), (module.weight, 0.8, 1.2), (module.bias, -0.1, 0.1),
            ):  # fmt: skip
                if held is not None:
                    yield held, low, high
