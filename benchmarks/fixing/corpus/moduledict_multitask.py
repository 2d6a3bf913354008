# mistakes: NA102 in towers of the ModuleDict, NA105 relu before relu in trunk; models: MultiTask(); input: 8x20
import torch
from torch import nn

TASKS = {"age": 1, "gender": 2, "race": 5}


class MultiTask(nn.Module):
    def __init__(self, d=20, h=32):
        super().__init__()
        self.trunk = nn.Sequential()
        self.trunk.add_module("lin", nn.Linear(d, h))
        self.trunk.add_module("act", nn.ReLU())
        self.trunk.add_module("drop", nn.Dropout(0.1))
        self.trunk.add_module("act2", nn.ReLU())
        self.towers = nn.ModuleDict({
            task: nn.Sequential(
                nn.Linear(h, 16),
                nn.BatchNorm1d(16),
                nn.ReLU(),
                nn.Linear(16, n),
            )
            for task, n in TASKS.items()
        })

    def forward(self, x):
        z = self.trunk(x)
        return {t: tower(z) for t, tower in self.towers.items()}
