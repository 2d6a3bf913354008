# fix: replace_layer a|b torch.nn.BatchNorm2d num_features=module.weight.shape[0]
import torch
from torch import nn


class Norm(nn.Module):
    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x):
        mean = x.mean((0, 2, 3), keepdim=True)
        var = x.var((0, 2, 3), keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight[:, None, None] + self.bias[:, None, None]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        width = 3
        for name in ("a", "b"):
            self.add_module(name, Norm(width))

    def forward(self, x):
        return self.b(self.a(x))
