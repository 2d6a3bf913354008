"""The import of this file stays in its style."""
from torch import Tensor, exp, nn
from torch.nn.functional import (
    relu,
    softmax,
)


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (1 + exp(-x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 8), Swish(), nn.Linear(8, 8), Swish())

    def forward(self, x):
        return softmax(relu(self.body(x)), dim=-1)
