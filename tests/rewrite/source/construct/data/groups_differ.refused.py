# fix: replace_layer a.0 torch.nn.GroupNorm num_groups=3 num_channels=3
# fix: replace_layer b.0 torch.nn.GroupNorm num_groups=4 num_channels=8
# refused: the layers built at groups_differ.py:9 need different values of `num_groups`: 3 and 4
from torch import nn


def block(i, o):
    return nn.Sequential(
        nn.BatchNorm2d(i),
        nn.Conv2d(i, o, 1),
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = block(3, 8)
        self.b = block(8, 8)

    def forward(self, x):
        return self.b(self.a(x))
