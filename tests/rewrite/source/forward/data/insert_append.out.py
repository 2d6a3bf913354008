# fix: insert_layer net.0 layer=torch.nn.ReLU
# fix: insert_layer net.1 layer=torch.nn.ReLU
# input: 2x4
import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, depth=2):
        super().__init__()
        layers = []
        for _ in range(depth):
            layers.append(nn.Linear(4, 4))  # hidden
            layers.append(nn.ReLU())
        layers.append(nn.Linear(4, 2))
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)
