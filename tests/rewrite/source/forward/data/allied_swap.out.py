# fix: swap_layers seqs.0.0 seqs.0.1
# allied: swap_layers seqs.1.0 seqs.1.1
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.seqs = nn.Sequential(*[nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()) for _ in range(2)])

    def forward(self, x):
        return self.seqs(x)
