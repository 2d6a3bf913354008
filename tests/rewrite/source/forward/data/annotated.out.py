# fix: remove_layer act2
# fix: remove_layer layers.act
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({
            "conv": nn.Conv2d(3, 4, 3),
            "act": nn.Identity(),
        })
        self.act3 = nn.Tanh()

    def forward(self, x):
        x = self.layers["act"](self.layers["conv"](x))
        y: object = x
        if (z := self.act3(y)) is not None:
            return z
        return y
