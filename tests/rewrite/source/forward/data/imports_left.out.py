# fix: remove_layer act
# fix: remove_layer :relu
# input: 2x4
import torch
from torch import nn
from torch.nn import Linear


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = Linear(4, 4)

    def forward(self, x):
        return torch.sigmoid(self.fc(x))
