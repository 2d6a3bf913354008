# fix: swap_layers seq.1 seq.2
# fix: swap_layers more.0 more.1
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.seq = nn.Sequential(
            # the convolution
            nn.Conv2d(3, 4, 3),
            # the norm
            nn.BatchNorm2d(4),  # as usual
            # the activation
            # (in place)
            nn.ReLU(inplace=True),
        )
        self.more = nn.Sequential(
            # another norm
            nn.BatchNorm2d(4),

            nn.ReLU(),
        )

    def forward(self, x):
        return self.more(self.seq(x))
