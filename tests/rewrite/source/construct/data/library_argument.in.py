# fix: set_argument a.0 bias=False
from torch import nn
from torchvision.ops import Conv2dNormActivation


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Conv2dNormActivation(3, 8, norm_layer=None, bias=True)

    def forward(self, x):
        return self.a(x)
