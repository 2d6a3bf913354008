# An RMS norm of a class and one of an expression, and a layer norm.
# unsafe: where the input and the weight have two dtypes, as in a model that keeps its norms in float32, the function gives that of the input, and for some pairs an error, while what stands here gives the wider one
# unsafe: where the input and the weight have two dtypes, as in a model that keeps its norms in float32, the function gives that of the input, and for some pairs an error, while what stands here gives the wider one
import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        input_dtype = hidden_states.dtype
        hidden_states = hidden_states.to(torch.float32)
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
        return self.weight * hidden_states.to(input_dtype)


class Block(nn.Module):
    def __init__(self, eps):
        super().__init__()
        self.norm = RMSNorm(8, eps)
        self.fc = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.ones(8))
        self.shift = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        x = x + self.fc(self.norm(x))
        mu = x.mean(-1, keepdim=True)
        centred = x - mu
        var = centred.square().mean(-1, keepdim=True)
        return centred / torch.sqrt(var + 1e-5) * self.scale + self.shift


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*[Block(1e-6 * number) for number in range(1, 4)])

    def forward(self, x):
        x = self.blocks(x)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
