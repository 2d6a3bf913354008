# input: 2x4x6x6
# unsafe: where the input and the weight have two dtypes, as in a model that keeps its norms in float32, the function gives that of the input, and for some pairs an error, while what stands here gives the wider one
# unsafe: axes are counted from the first, so that it is something else for inputs with more axes
# Several statements on one line, some of which go; without a weight the sizes are those of the tensor.
import torch
import torch.nn.functional as F
from torch import nn


class LayerNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a = nn.Parameter(torch.ones(width)); self.b = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        m = x.mean(-1, keepdim=True); v = x.var(-1, keepdim=True, unbiased=False)
        return self.a * (x - m) / torch.sqrt(v + 1e-6) + self.b


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = LayerNorm(6)

    def forward(self, x):
        y = self.norm(x); m = y.mean((2, 3), keepdim=True); v = y.var((2, 3), keepdim=True, unbiased=False)
        return (y - m) / (v + 1e-5).sqrt()
