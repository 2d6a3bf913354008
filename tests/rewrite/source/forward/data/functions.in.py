# fix: remove_layer :relu
# fix: remove_layer :relu_
# fix: remove_layer :sigmoid
# fix: remove_layer :tanh
# fix: remove_layer :dropout
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = F.relu(input=self.conv(x) + 1)
        F.relu_(y)
        y = torch.sigmoid(y - 1) * 2
        z = y = y.tanh()
        out = F.dropout(
            z * 2 +
            y,
            0.5,
            self.training,
        )
        return out
