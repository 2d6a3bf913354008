# fix: remove_layer act
# fix: remove_layer :relu
# input: 2x4
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn import Linear, ReLU


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = Linear(4, 4)
        self.act = ReLU()

    def forward(self, x):
        return torch.sigmoid(self.act(F.relu(self.fc(x))))
