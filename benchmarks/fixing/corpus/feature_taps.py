# mistakes: none that is told (the first relu is tapped by its index); models: Taps(); input: 2x3x32x32
from torch import nn

TAPS = {"relu1": 1, "relu2": 5}


class Taps(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        )

    def forward(self, x):
        out = {}
        for i, layer in enumerate(self.features):
            x = layer(x)
            for name, index in TAPS.items():
                if i == index:
                    out[name] = x
        return out
