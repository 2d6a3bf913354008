# fix: replace_layer ln torch.nn.GroupNorm num_groups=4 num_channels=module.normalized_shape[0]
from torch import nn


class Net(nn.Module):
    def __init__(self, width=8, size=16):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 1)
        self.ln = nn.GroupNorm(4, width, affine=True)

    def forward(self, x):
        return self.ln(self.conv(x))
