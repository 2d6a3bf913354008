# fix: remove_layer act
# fix: remove_layer drop
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        # a comment of its own
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x):
        y = (  # keep the positive part
            self.conv(x)
        )
        y = self.bn((
            # regularise
            y
        ))
        return y
