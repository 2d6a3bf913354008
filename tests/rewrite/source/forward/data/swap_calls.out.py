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
        x = F.relu(self.bn1(self.conv(x)), inplace=True)
        out = self.bn2(x + 1)
        x = self.act(out)
        x = self.bn3(x * 2)
        x = F.gelu(
            x, approximate="tanh"
        )
        x = self.bn4(x + 1).sigmoid()
        return x
