# fix: swap_layers seq.1 bn
# fix: swap_layers :relu seq2.0
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.seq = nn.Sequential(nn.Conv2d(3, 4, 3))
        self.bn = nn.BatchNorm2d(4)
        self.seq2 = nn.Sequential(
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3),
        )

    def forward(self, x):
        x = F.leaky_relu(self.bn(self.seq(x)), negative_slope=0.2, inplace=True)
        return self.seq2(x + 1)
