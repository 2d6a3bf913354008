# mistakes: none; models: GatedTCN(); input: 4x6x32
import torch
import torch.nn as nn


class GatedBlock(nn.Module):
    def __init__(self, ch, dilation):
        super().__init__()
        self.filter = nn.Conv1d(ch, ch, 3, padding=dilation, dilation=dilation)
        self.gate = nn.Conv1d(ch, ch, 3, padding=dilation, dilation=dilation)
        self.res = nn.Conv1d(ch, ch, 1)

    def forward(self, x):
        z = torch.tanh(self.filter(x)) * torch.sigmoid(self.gate(x))
        return x + self.res(z), z


class GatedTCN(nn.Module):
    def __init__(self, c_in=6, ch=16, n=3):
        super().__init__()
        self.start = nn.Conv1d(c_in, ch, 1)
        self.blocks = nn.ModuleList([GatedBlock(ch, 2 ** i) for i in range(n)])
        self.end = nn.Sequential(nn.ReLU(), nn.Conv1d(ch, ch, 1), nn.ReLU(), nn.Conv1d(ch, 1, 1))

    def forward(self, x):
        x = self.start(x)
        skips = 0
        for b in self.blocks:
            x, s = b(x)
            skips = skips + s
        return self.end(skips)
