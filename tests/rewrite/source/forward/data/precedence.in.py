# fix: remove_layer a
# fix: remove_layer b
# fix: remove_layer c
# fix: remove_layer d
# fix: remove_layer :sigmoid
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.a = nn.ReLU()
        self.b = nn.ReLU()
        self.c = nn.ReLU()
        self.d = nn.ReLU()

    def forward(self, x):
        x = 2 * self.a(self.conv(x) + 1)
        x = self.b(x if self.training else x * 2).mean((2, 3))
        x = self.c(
            x
            + 1
        )
        y = torch.sigmoid(-x).abs()
        return [self.d(x + y)][0]
