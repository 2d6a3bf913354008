# fix: set_argument layer.linear1 bias=False
# input: 2x3x16
# refused: `layer.linear1` is built by the constructor of `layer`, which inside_torch.py:10 only calls
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2)

    def forward(self, x):
        return self.layer(x)
