# fix: set_argument layers.* bias=False
# fix: replace_layer norms.* torch.nn.GroupNorm num_groups=4 num_channels=8
# input: 2x8x4x4
import copy

import torch
import torch.nn


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        layer = torch.nn.Conv2d(8, 8, 1, bias=False)
        norm = torch.nn.GroupNorm(4, 8)
        self.layers = torch.nn.ModuleList(copy.deepcopy(layer) for _ in range(3))
        self.norms = torch.nn.ModuleList([copy.deepcopy(norm) for _ in range(3)])

    def forward(self, x):
        for layer, norm in zip(self.layers, self.norms):
            x = norm(layer(x))
        return x
