# fix: set_argument a bias=False
# refused: the call at unpacked.py:12 gets the `bias` from `OPTIONS` at unpacked.py:6, which other code may read
from torch import nn


OPTIONS = {"bias": True}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 1, **OPTIONS)

    def forward(self, x):
        return self.a(x)
