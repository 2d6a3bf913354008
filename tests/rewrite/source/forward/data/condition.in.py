# fix: remove_layer drop
# fix: remove_layer act2
from torch import nn


class Net(nn.Module):
    def __init__(self, drop=0.1, act=True):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        if drop:
            self.drop = nn.Dropout(drop)
        else:
            self.drop = None
        self.act = nn.ReLU()
        if act:
            self.act2 = nn.ReLU()
        self.use_act = act

    def forward(self, x):
        x = self.act(self.conv(x))
        if self.drop is not None:
            x = self.drop(x)
        if self.use_act:
            x = self.act2(x)
        return x
