# mistakes: NA102 in BasicBlock through cfg.bias; models: ResNet(); input: 4x3x32x32
from dataclasses import dataclass, field
from typing import List, Tuple

import torch
import torch.nn as nn


@dataclass
class ResNetConfig:
    depths: Tuple[int, ...] = (1, 1)
    widths: Tuple[int, ...] = (16, 32)
    bias: bool = True
    num_classes: int = 10
    stem: List[int] = field(default_factory=lambda: [3, 16])


class BasicBlock(nn.Module):
    def __init__(self, cfg: ResNetConfig, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=cfg.bias)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=cfg.bias)
        self.bn2 = nn.BatchNorm2d(cout)
        self.act = nn.ReLU(inplace=True)
        self.shortcut = nn.Identity()
        if stride != 1 or cin != cout:
            self.shortcut = nn.Sequential(
                nn.Conv2d(cin, cout, 1, stride, bias=cfg.bias),
                nn.BatchNorm2d(cout),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.act(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = out + self.shortcut(x)
        return self.act(out)


class ResNet(nn.Module):
    def __init__(self, cfg: ResNetConfig = ResNetConfig()) -> None:
        super().__init__()
        cin, cout = cfg.stem
        self.stem = nn.Conv2d(cin, cout, 3, 1, 1)
        blocks = []
        for i, (d, w) in enumerate(zip(cfg.depths, cfg.widths)):
            for j in range(d):
                blocks.append(BasicBlock(cfg, cout, w, stride=2 if i and not j else 1))
                cout = w
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(cout, cfg.num_classes)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.head(x.mean((2, 3)))
