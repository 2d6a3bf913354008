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
        return F.layer_norm(x, self.a.shape, weight=self.a, bias=self.b, eps=1e-6)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = LayerNorm(6)

    def forward(self, x):
        y = self.norm(x)
        return F.layer_norm(y, y.shape[-2:], eps=1e-5)
