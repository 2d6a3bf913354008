# mistakes: NA102 through the lambda factories, NA105 doubled activation; models: LambdaNet(); input: 4x3x16x16
import torch.nn as nn

conv = lambda i, o, **kw: nn.Conv2d(i, o, 3, padding=1, **kw)
norm = lambda c: nn.BatchNorm2d(c)
act = lambda: nn.ReLU(inplace=True)


class LambdaNet(nn.Module):
    def __init__(self):
        super().__init__()
        make = lambda i, o: nn.Sequential(conv(i, o), norm(o), act())
        self.a = make(3, 8)
        self.b = make(8, 16)
        self.c = nn.Sequential(nn.Conv2d(16, 16, 1), act(), act(), nn.Conv2d(16, 4, 1))

    def forward(self, x):
        return self.c(self.b(self.a(x))).mean((2, 3))
