# fix: remove_layer body.act2
# fix: remove_layer tail.drop
from collections import OrderedDict

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), act=nn.ReLU(), act2=nn.ReLU()))
        layers = OrderedDict()
        layers["conv"] = nn.Conv2d(4, 4, 3)
        layers["drop"] = nn.Dropout(0.2)
        layers["norm"] = nn.BatchNorm2d(4)
        self.tail = nn.Sequential(layers)

    def forward(self, x):
        return self.tail(self.body(x))
