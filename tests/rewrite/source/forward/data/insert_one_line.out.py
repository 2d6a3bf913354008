# fix: insert_layer seq.0 layer=torch.nn.ReLU
# fix: insert_layer tight.0 layer=torch.nn.ReLU
# fix: insert_layer last.1 layer=torch.nn.ReLU
# fix: insert_layer broken.1 layer=torch.nn.ReLU
# input: 2x4
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.seq = nn.Sequential(
            nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4),
            nn.ReLU(),
        )
        self.tight = nn.Sequential(nn.Linear(4,4),nn.ReLU(),nn.Linear(4,4))
        self.last = nn.Sequential(
            nn.Tanh(), nn.Linear(4, 4), nn.ReLU(),
            nn.Linear(4, 4), )
        self.broken = nn.Sequential(nn.Tanh(),
                                    nn.Linear(4, 4),
                                    nn.ReLU())

    def forward(self, x):
        return self.broken(self.last(self.tight(self.seq(x))))
