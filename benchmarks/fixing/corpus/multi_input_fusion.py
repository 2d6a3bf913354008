# mistakes: NA102 in both branches' helper, NA105 in the fusion (tanh of relu of relu); models: Fusion(); input: 4x3x16x16 4x12
import torch
import torch.nn as nn


class Fusion(nn.Module):
    """Image and metadata."""

    def _img(self):
        c = nn.Conv2d(3, 8, 3, 2)
        b = nn.BatchNorm2d(8)
        return nn.Sequential(c, b, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def _meta(self, d):
        return nn.Sequential(nn.Linear(d, 16), nn.BatchNorm1d(16), nn.ReLU())

    def __init__(self, meta_dim: int = 12):
        super().__init__()
        self.img, self.meta = self._img(), self._meta(meta_dim)
        self.act = nn.ReLU()
        self.fuse = nn.Linear(24, 16)
        self.out = nn.Linear(16, 2)

    def forward(self, image: torch.Tensor, meta: torch.Tensor) -> torch.Tensor:
        z = torch.cat([self.img(image), self.meta(meta)], dim=-1)
        return self.out(self.act(self.act(self.fuse(z))))
