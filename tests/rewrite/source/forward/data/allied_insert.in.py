# fix: insert_layer fc1 layer=torch.nn.ReLU
# allied: insert_layer fc2 layer=torch.nn.ReLU
# input: 2x4
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def step(self, x, layer):
        return layer(x)

    def forward(self, x):
        return self.fc3(self.step(self.step(x, self.fc1), self.fc2))
