import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.eps = 1e-6

    def norm(self, hidden):
        variance: torch.Tensor = hidden.pow(2).mean(-1, keepdim=True)
        return hidden * (variance + self.eps).rsqrt()

    def forward(self, x):
        for layer in self.layers:
            x = self.norm(layer(x))
            swish = lambda t: t * torch.sigmoid(t)
            x = swish(x)
        return x
