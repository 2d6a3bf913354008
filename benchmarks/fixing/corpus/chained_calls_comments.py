# mistakes: NA105 in a chain with comments, NA102 in a call with a comment in each line; models: Chain(); input: 4x3x16x16
import torch
from torch import nn
from torch.nn.functional import relu, max_pool2d as pool


class Chain(nn.Module):
    norm = nn.BatchNorm2d

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3,    # rgb
                            16,   # features
                            3,    # kernel
                            padding=1,  # same
                            )  # first
        self.n1 = self.norm(16)
        self.c2 = nn.Conv2d(
            16, 16,
            3  # kernel
        )
        self.n2 = self.norm(16)
        self.fc = nn.Linear(16, 4)

    def forward(self, x):
        h = relu(  # outer
            relu(  # inner
                self.n1(self.c1(x))
            )
        )
        h = pool(h, 2)
        h = relu(self.n2(self.c2(h)))
        return self.fc(h.amax(dim=(2, 3)))  # global max
