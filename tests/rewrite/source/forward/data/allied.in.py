# fix: remove_layer :relu_1
# allied: remove_layer :relu_3
# allied: remove_layer :relu_5
# input: 2x4
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def step(self, x, layer):
        return F.relu(F.relu(layer(x)))

    def forward(self, x):
        x = self.step(self.step(x, self.fc1), self.fc2)
        return F.relu(F.relu(self.fc3(x)))
