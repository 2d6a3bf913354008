# fix: set_argument a bias=False
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        options = {"stride": 1, "bias": False}
        self.a = nn.Conv2d(3, 8, 1, **options)
        self.b = nn.Conv2d(8, 8, 1, **dict(bias=True))

    def forward(self, x):
        return self.b(self.a(x))
