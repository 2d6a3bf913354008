# fix: set_argument a.1 inplace=False
# refused: the call at misc.py:115 may hold the `inplace` in what it unpacks
from torch import nn
from torchvision.ops import Conv2dNormActivation


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Conv2dNormActivation(3, 8, norm_layer=None)

    def forward(self, x):
        return self.a(x)
