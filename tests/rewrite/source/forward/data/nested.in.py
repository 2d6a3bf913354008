# fix: remove_layer act2
# fix: remove_layer drop
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU()
        self.drop = nn.Dropout()
        self.act2 = nn.ReLU(
            inplace=True,  # saves memory
        )
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn(self.drop(self.act2(self.act(self.conv(x))))).mean((2, 3))
