# input: 2x4x16
# refused: it is a normalization for axes of these sizes alone, by the numbers that it is written with
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 16)

    def forward(self, x):
        x = self.fc(x)
        return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) / 16 + 1e-6)
