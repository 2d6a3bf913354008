"""The models that are trained, with random weights and random batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["MODELS", "Training"]


@dataclass(slots=True)
class Training:
    """A model and its next step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[], torch.Tensor]


def _images(model: nn.Module, optimizer: torch.optim.Optimizer, batch: int, device: torch.device) -> Training:
    images = torch.randn(batch, 3, 224, 224, device=device)
    labels = torch.randint(0, 1000, (batch,), device=device)
    return Training(model, optimizer, lambda: F.cross_entropy(model(images), labels))


def _resnet50(batch: int, device: torch.device) -> Training:
    import torchvision  # noqa: PLC0415 - only what is asked for is imported

    model = torchvision.models.resnet50().to(device)
    return _images(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), batch, device)


def _vit_s(batch: int, device: torch.device) -> Training:
    import timm  # noqa: PLC0415 - as above

    model = timm.create_model("vit_small_patch16_224").to(device)
    return _images(model, torch.optim.AdamW(model.parameters(), lr=1e-4), batch, device)


def _gpt2(batch: int, device: torch.device) -> Training:
    from transformers import GPT2Config, GPT2LMHeadModel  # noqa: PLC0415 - as above

    model: Any = GPT2LMHeadModel(GPT2Config()).to(device)
    words = torch.randint(0, 50257, (batch, 256), device=device)
    return Training(model, torch.optim.AdamW(model.parameters(), lr=1e-4), lambda: model(words, labels=words).loss)


MODELS: dict[str, tuple[Callable[[int, torch.device], Training], int]] = {
    "resnet50": (_resnet50, 16),
    "vit_s": (_vit_s, 16),
    "gpt2": (_gpt2, 4),
}
"""How each is built, and samples per batch: images of 224 x 224, texts of 256 words."""
