# fix: remove_layer body.0.2
# fix: remove_layer body.2
from torch import nn


def activation(name):
    if name == "relu":
        return nn.ReLU()
    return nn.GELU()


def conv_act(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3), activation("relu"), activation("relu"))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            conv_act(3, 4),
            activation("gelu"),
            activation("gelu"),
        )

    def forward(self, x):
        return self.body(x)
