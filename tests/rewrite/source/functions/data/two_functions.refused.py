# refused: `gated(x)` at net.py:17 computes more than one operation
import torch
from torch import nn


def gated(x):
    return torch.sigmoid(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = self.fc(x)
        return x * gated(x)
