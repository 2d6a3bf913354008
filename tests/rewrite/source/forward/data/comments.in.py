# fix: remove_layer act
# fix: remove_layer drop
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        # a comment of its own
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.1)
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.act(  # keep the positive part
            self.conv(x),
        )
        y = self.bn(self.drop(
            # regularise
            y
        ))
        return y
