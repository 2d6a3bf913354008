# fix: insert_layer net.0 layer=torch.nn.ReLU
# refused: `net.0` is put into several sequences, on lines 11, 13 of net.py
from torch import nn


class Net(nn.Module):
    def __init__(self, norm=True):
        super().__init__()
        conv = nn.Conv2d(3, 4, 3)
        if norm:
            layers = [conv, nn.BatchNorm2d(4)]
        else:
            layers = [conv, nn.ReLU()]
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)
