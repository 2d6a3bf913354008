# fix: remove_layer layers.2
# fix: remove_layer acts.*
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([
            nn.Conv2d(3, 4, 3),
            nn.ReLU(),
            nn.ReLU(),
        ])
        self.convs = nn.ModuleList([nn.Conv2d(4, 4, 1) for _ in range(2)])
        self.acts = nn.ModuleList([nn.Tanh() for _ in range(2)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        for conv, act in zip(self.convs, self.acts):
            x = act(conv(x))
        return x
