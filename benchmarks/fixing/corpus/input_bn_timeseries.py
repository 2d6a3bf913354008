# mistakes: NA112 BatchNorm1d on the raw input, NA102 in conv blocks, NA103 dropout before the second norm; models: InceptionTime(); input: 4x6x64
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, cin, cout, ks=(3, 5, 9)):
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv1d(cin, cout, k, padding=k // 2) for k in ks])
        self.bn = nn.BatchNorm1d(cout * len(ks))
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.bn(torch.cat([b(x) for b in self.branches], dim=1)))


class InceptionTime(nn.Module):
    def __init__(self, c_in=6, c_out=3, nf=8, depth=2):
        super().__init__()
        self.bn_in = nn.BatchNorm1d(c_in)  # so that we need not scale the data
        self.blocks = nn.ModuleList()
        for d in range(depth):
            self.blocks.append(Block(c_in if d == 0 else nf * 3, nf))
        self.fc = nn.Sequential(
            nn.Linear(nf * 3, 32),
            nn.Dropout(0.3),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Linear(32, c_out),
        )

    def forward(self, x):
        x = self.bn_in(x)
        for b in self.blocks:
            x = b(x)
        return self.fc(x.mean(-1))
