# fix: set_argument a bias=False
# refused: the call at positional_rest.py:10 may hold the `bias` in what it unpacks
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = (3, 8, 1)
        self.a = nn.Conv2d(*sizes)

    def forward(self, x):
        return self.a(x)
