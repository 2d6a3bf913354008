# fix: set_argument wide num_features=6
# fix: set_argument blocks.0.norm num_features=8
# fix: set_argument blocks.1.norm num_features=12
# fix: replace_layer first torch.nn.GroupNorm num_groups=2 num_channels=4
# input: 2x3x16x16
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3)
        self.act = nn.ReLU()
        self.norm = nn.BatchNorm2d(outputs)  # of both

    def forward(self, x):
        return self.norm(self.act(self.conv(x)))


class Net(nn.Module):
    def __init__(self, widths=(4, 6), outputs=8):
        super().__init__()
        self.conv = nn.Conv2d(3, widths[0], 3)
        self.first = nn.GroupNorm(2, widths[0])
        self.conv2 = nn.Conv2d(widths[0], out_channels=widths[1], kernel_size=3)
        self.wide = nn.BatchNorm2d(num_features=widths[1])
        self.blocks = nn.Sequential(Block(6, outputs), Block(outputs, 12))

    def forward(self, x):
        return self.blocks(self.wide(self.conv2(self.first(self.conv(x)))))
