# fix: set_argument *.0 bias=False
import torch.nn as nn


def conv_bn(i, o, k=3):
    return nn.Sequential(nn.Conv2d(i, o, k, padding=k // 2), nn.BatchNorm2d(o))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = conv_bn(3, 8)
        self.b = conv_bn(8, 8, 1)

    def forward(self, x):
        return self.b(self.a(x))
