# mistakes: NA105 an element in front of one that __init__ and forward name by number; models: Indexed(); input: 8x16
import torch
from torch import nn


class Indexed(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(16, 32),
            nn.ReLU(),
            nn.ReLU(),
            nn.Linear(32, 32),
            nn.ReLU(),
            nn.Linear(32, 2),
        )
        nn.init.zeros_(self.net[5].bias)
        nn.init.xavier_uniform_(self.net[3].weight)

    def forward(self, x):
        hidden = self.net[:5](x)
        return self.net[5](hidden), hidden
