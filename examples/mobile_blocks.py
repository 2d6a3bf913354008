"""A small mobile network as it is trained. `normadvisor optimize` finds what inference can do without: norms folded, activations in one step."""

import torch
from torch import nn


class Swish(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x)


class Block(nn.Module):
    """Depthwise and pointwise convolution around a residual sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(width)
        self.act = Swish()
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.act(self.depthwise_norm(self.depthwise(x)))
        return x + self.pointwise_norm(self.pointwise(inner))


class MobileBlocks(nn.Module):
    def __init__(self, width: int = 32, depth: int = 4, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.act = Swish()
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.stem_norm(self.stem(x)))
        return self.head(self.blocks(x).mean((2, 3)))
