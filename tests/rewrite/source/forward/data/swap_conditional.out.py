# fix: swap_layers features.1 features.2
# fix: swap_layers drop bn
from torch import nn


class Net(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        layers = [nn.Conv2d(3, 4, 3)]
        layers.append(nn.BatchNorm2d(4))
        if p:
            layers.append(nn.Dropout(p))
        self.features = nn.Sequential(*layers)
        self.drop = nn.Dropout(p) if p else None
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.features(x)
        x = self.bn(x)
        if self.drop is not None:
            x = self.drop(x)
        return x
