# fix: swap_layers act norm
# refused: what `act` gives is used by 2 others, not by `norm` alone
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.act(self.conv(x))
        return self.norm(y) + y
