# fix: set_argument a.*|b.*|c.* bias=False
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, width=3, bias=True):
        super().__init__()
        layers = []
        for size in (8, 8):
            layers.append(nn.Conv2d(width, size, 1))
            width = size
        self.a = nn.Sequential(*layers)
        self.b = nn.ModuleList([nn.Linear(16, 16, bias=bool(index < 3)) for index in range(3)])
        more = []
        more += [nn.Conv2d(8, 8, 1, bias=flag) for flag in [True, True]]
        self.c = nn.Sequential(*more)

    def forward(self, x):
        x = self.a(x)
        for layer in self.b:
            x = layer(x)
        return self.c(x)
