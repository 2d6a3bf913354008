# fix: wrap_layer conv|blocks.* torch.nn.utils.parametrizations.weight_norm dim=0
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(
            3,
            8,
            1,
        ), dim=0)
        self.blocks = nn.Sequential(*(nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1), dim=0) for _ in range(2)))

    def forward(self, x):
        return self.blocks(self.conv(x))
