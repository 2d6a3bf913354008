import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.eps = 1e-6

    def norm(self, hidden):
        return nn.functional.rms_norm(hidden, hidden.shape[-1:], eps=self.eps)

    def forward(self, x):
        for layer in self.layers:
            x = self.norm(layer(x))
            swish = lambda t: nn.functional.silu(t)
            x = swish(x)
        return x
