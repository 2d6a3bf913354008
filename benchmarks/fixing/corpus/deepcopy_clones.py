# mistakes: NA102 in a layer cloned with deepcopy, NA105 none; models: make_model(); input: 2x10x16
import copy
import torch
import torch.nn as nn


def clones(module, N):
    "Produce N identical layers."
    return nn.ModuleList([copy.deepcopy(module) for _ in range(N)])


class ConvSub(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.pw = nn.Conv1d(d, d, 1)
        self.bn = nn.BatchNorm1d(d)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        y = self.bn(self.pw(x.transpose(1, 2)))
        return x + self.dropout(torch.relu(y)).transpose(1, 2)


class Encoder(nn.Module):
    def __init__(self, layer, N):
        super().__init__()
        self.layers = clones(layer, N)
        self.norm = nn.LayerNorm(16)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def make_model(N=3, d=16):
    "Helper: Construct a model from hyperparameters."
    c = copy.deepcopy
    sub = ConvSub(d)
    return Encoder(c(sub), N)
