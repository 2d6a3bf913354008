# fix: remove_layer features.1
# fix: remove_layer features.2
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(4, 4, 3))

    def forward(self, x):
        return self.features[:2](x) + self.features(x)[..., :1, :1]
