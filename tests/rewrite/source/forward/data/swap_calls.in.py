# fix: swap_layers :relu bn1
# fix: swap_layers act bn2
# fix: swap_layers :gelu bn3
# fix: swap_layers :sigmoid bn4
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU()
        self.bn1 = nn.BatchNorm2d(4)
        self.bn2 = nn.BatchNorm2d(4)
        self.bn3 = nn.BatchNorm2d(4)
        self.bn4 = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.bn1(F.relu(self.conv(x), inplace=True))
        out = self.act(x + 1)
        x = self.bn2(out)
        x = F.gelu(
            x * 2, approximate="tanh"
        )
        x = self.bn3(x)
        x = self.bn4((x + 1).sigmoid())
        return x
