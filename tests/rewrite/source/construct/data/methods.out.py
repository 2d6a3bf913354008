# fix: set_argument stages.0.* bias=False
import torch.nn as nn


class Net(nn.Module):
    width = 3

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleDict({"0": self._stage(2), "1": self._stage(2, bias=True)})

    def _stage(self, depth, bias=False):
        return nn.Sequential(*[self._conv(self.width, bias) for _ in range(depth)])

    @staticmethod
    def _conv(width, bias):
        return nn.Conv2d(width, width, 1, bias=bias)

    def forward(self, x):
        return self.stages["1"](self.stages["0"](x))
