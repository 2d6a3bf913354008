# mistakes: none; models: FPN(); input: 2x3x32x32
from typing import Dict, List

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FPN(nn.Module):
    """Backbone and feature pyramid; several outputs."""

    def __init__(self, widths: List[int] = [8, 16, 32], out: int = 16) -> None:
        super().__init__()
        self.body = nn.ModuleList()
        self.lateral = nn.ModuleList()
        c = 3
        for w in widths:
            self.body.append(nn.Sequential(nn.Conv2d(c, w, 3, 2, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU(inplace=True)))
            self.lateral.append(nn.Conv2d(w, out, 1))
            c = w
        self.smooth = nn.ModuleList(nn.Conv2d(out, out, 3, padding=1) for _ in widths)

    def forward(self, x: Tensor) -> Dict[str, Tensor]:
        feats = []
        for stage, lat in zip(self.body, self.lateral):
            x = stage(x)
            feats.append(lat(x))
        results = [feats[-1]]
        for f in feats[-2::-1]:
            results.insert(0, f + F.interpolate(results[0], size=f.shape[-2:], mode="nearest"))
        return {f"p{i}": s(r) for i, (s, r) in enumerate(zip(self.smooth, results))}
