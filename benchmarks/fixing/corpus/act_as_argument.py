# mistakes: NA105 act given to two layers in a row in Head, NA102 in conv_bn helper; models: Net() Net(nn.SiLU); input: 4x3x32x32
import torch.nn as nn


def conv_bn(inp, oup, stride, act=nn.ReLU):
    return nn.Sequential(nn.Conv2d(inp, oup, 3, stride, 1), nn.BatchNorm2d(oup), act())


class Head(nn.Module):
    def __init__(self, dim, n, act=nn.ReLU, p=0.1):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, dim), act(), nn.Dropout(p), act(), nn.Linear(dim, n))

    def forward(self, x): return self.net(x)


class Net(nn.Module):
    def __init__(self, act=nn.ReLU):
        super().__init__()
        self.body = nn.Sequential(
            conv_bn( 3,  8, 2, act),
            conv_bn( 8, 16, 2, act),
            conv_bn(16, 32, 2, act),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.head = Head(32, 10, act=act)

    def forward(self, x):
        return self.head(self.body(x))
