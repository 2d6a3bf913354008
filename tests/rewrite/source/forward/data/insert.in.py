# fix: insert_layer fc1 layer=torch.nn.ReLU
# fix: insert_layer seq.0 layer=torch.nn.ReLU inplace=True
# fix: insert_layer seq2.a layer=torch.nn.GELU
# fix: insert_layer :linear layer=torch.nn.ReLU
# input: 2x4
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 4)
        self.seq = nn.Sequential(
            nn.Linear(4, 4),  # widen
            nn.Linear(4, 4)
        )
        self.seq2 = nn.Sequential()
        self.seq2.add_module("a", nn.Linear(4, 4))
        self.seq2.add_module("b", nn.Linear(4, 4))
        self.weight = nn.Parameter(torch.ones(4, 4))

    def forward(self, x):
        x = self.seq(self.fc1(x))
        x = F.linear(self.seq2(x), self.weight)
        return x
