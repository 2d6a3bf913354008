# mistakes: NA102 with bias in a dict of keyword arguments; models: Net(); input: 4x3x16x16
import torch.nn as nn

CONV_KWARGS = {"kernel_size": 3, "padding": 1, "bias": True}
HEAD = dict(dropout=0.1, hidden=32)


class Net(nn.Module):
    def __init__(self, conv_kwargs=CONV_KWARGS, **head):
        super().__init__()
        head = {**HEAD, **head}
        self.c1 = nn.Conv2d(3, 8, **conv_kwargs)
        self.n1 = nn.BatchNorm2d(8)
        self.c2 = nn.Conv2d(8, 16, **conv_kwargs)
        self.n2 = nn.BatchNorm2d(16)
        self.act = nn.ELU()
        self.head = nn.Sequential(nn.Linear(16, head["hidden"]), nn.BatchNorm1d(head["hidden"]), nn.ELU(), nn.Dropout(head["dropout"]), nn.Linear(head["hidden"], 3))

    def forward(self, x):
        x = self.act(self.n1(self.c1(x)))
        x = self.act(self.n2(self.c2(x)))
        return self.head(x.mean((2, 3)))
