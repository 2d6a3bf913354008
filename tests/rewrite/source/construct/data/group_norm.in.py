# fix: replace_layer a.1|b.1|bn torch.nn.GroupNorm num_groups=4 num_channels=module.num_features
# fix: replace_layer slow torch.nn.GroupNorm num_groups=4 num_channels=8 eps=0.001
import torch.nn as nn


def conv_bn(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 1), nn.BatchNorm2d(o))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = conv_bn(3, 8)
        self.b = conv_bn(8, 16)
        self.bn = nn.BatchNorm2d(num_features=16, momentum=0.01)
        self.down = nn.Conv2d(16, 8, 1)
        self.slow = nn.BatchNorm2d(
            8,  # channels
            eps=1e-3,  # as in the paper
            momentum=0.01,
        )

    def forward(self, x):
        return self.slow(self.down(self.bn(self.b(self.a(x)))))
