import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        F = self.fc
        if x.ndim > 2:
            α = F(x)
            x = nn.functional.silu(α)
        return x
