# refused: the weight has the shape (1, 1, 8), and the function of torch takes (8,)
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.gain = nn.Parameter(torch.ones(1, 1, 8))

    def forward(self, x):
        x = self.fc(x)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.gain
