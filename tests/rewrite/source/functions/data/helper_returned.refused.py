# refused: `weights` is also read at net.py:15
from torch import nn
import torch.nn.functional as F


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        weights = F.softmax(self.q(x) @ self.k(x).transpose(1, 2) / 8**0.5, dim=-1)
        y = weights @ self.v(x)
        # The caller drops them.
        return y, weights


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention()

    def forward(self, x):
        return self.attention(x)[0]
