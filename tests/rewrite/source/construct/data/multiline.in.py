# fix: set_argument conv? bias=False
# fix: set_argument conv? padding_mode='reflect'
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(
            3,
            8,
            kernel_size=3,  # small, ( and so on
        )
        self.conv2 = nn.Conv2d(
            8, 8,
            kernel_size=3,
            stride=2  # downsample
            # and nothing else
        )
        self.conv3 = nn.Conv2d(8, 8, kernel_size=1,
                               stride=1)
        self.conv4 = nn.Conv2d(
            in_channels=8, out_channels=8, kernel_size=1,
        )
        self.conv5 = torch.nn.Conv2d \
            (8, 8, 1)
        self.conv6 = (
            nn
            .Conv2d(8, 8, 1)
        )

    def forward(self, x):
        return self.conv6(self.conv5(self.conv4(self.conv3(self.conv2(self.conv1(x))))))
