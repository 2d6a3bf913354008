# mistakes: NA111 one BatchNorm run after every conv of a loop; models: LoopNet(); input: 4x3x16x16
import torch.nn as nn


class LoopNet(nn.Module):
    def __init__(self, c=16, depth=3):
        super().__init__()
        self.stem = nn.Conv2d(3, c, 1)
        self.convs = nn.ModuleList([nn.Conv2d(c, c, 3, padding=1, bias=False) for _ in range(depth)])
        self.bn = nn.BatchNorm2d(c)
        self.fc = nn.Linear(c, 5)

    def forward(self, x):
        x = self.stem(x)
        for conv in self.convs:
            x = self.bn(conv(x)).relu()
        return self.fc(x.mean((2, 3)))
