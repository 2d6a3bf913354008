# fix: replace_layer a.1|c.1 torch.nn.GroupNorm num_groups=4 num_channels=module.num_features
# fix: replace_layer b.1 torch.nn.GroupNorm num_groups=8 num_channels=module.num_features
from torch import nn
from torchvision.ops import Conv2dNormActivation
from functools import partial


class Net(nn.Module):
    def __init__(self, norm_layer=nn.BatchNorm2d):
        super().__init__()
        self.a = Conv2dNormActivation(3, 8, norm_layer=partial(nn.GroupNorm, 4))
        self.b = Conv2dNormActivation(8, 16, norm_layer=partial(nn.GroupNorm, 8))
        self.c = Conv2dNormActivation(
            16,
            8,  # narrow
            norm_layer=partial(nn.GroupNorm, 4),
        )

    def forward(self, x):
        return self.c(self.b(self.a(x)))
