# fix: insert_layer hidden.0 layer=torch.nn.GELU
# fix: insert_layer hidden.1 layer=torch.nn.GELU
# fix: insert_layer stages.0 layer=torch.nn.SiLU inplace=True
# input: 2x4
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.stages = nn.ModuleList([nn.Linear(4, 4), nn.SiLU(inplace=True), nn.Linear(4, 4)])

    def forward(self, x):
        for layer in self.hidden:
            x = nn.functional.gelu(layer(x))
        for stage in self.stages:
            x = stage(x)
        return x
