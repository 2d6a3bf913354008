# fix: remove_layer :tanh.*
# input: 2x8
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 3)
        self.tanh = F.tanh

    def forward(self, x):
        y = torch.zeros(x.shape[0], dtype=torch.long)
        return F.cross_entropy(F.tanh(self.fc(x).tanh()), y) + nn.functional.tanh(self.tanh(x)).mean()
