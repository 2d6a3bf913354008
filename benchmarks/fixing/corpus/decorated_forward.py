# mistakes: NA102 conv, NA105 at the end of a decorated forward, NA110 self.norm_final; models: Decorated(); input: 4x3x16x16
import functools
import torch
from torch import nn


def check_shape(rank):
    def deco(fn):
        @functools.wraps(fn)
        def wrapper(self, x, *args, **kwargs):
            assert x.dim() == rank, f"expected {rank}-D input, got {x.dim()}-D"
            return fn(self, x, *args, **kwargs)
        return wrapper
    return deco


class Decorated(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.GELU()
        self.norm_final = nn.LayerNorm(8)
        self.fc1 = nn.Linear(8, 16)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(16, 3)

    @check_shape(4)
    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        x = x.flatten(2).mean(-1)
        x = self.relu(self.fc1(x))
        x = self.relu(x)
        return self.fc2(x)
