# fix: insert_layer block.fcs.0 layer=torch.nn.ReLU
# refused: net.py:10 builds `block.fcs.0`, and also `block.fcs.1`, to which the fix does not apply
# input: 2x4
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fcs = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])

    def forward(self, x):
        for index, fc in enumerate(self.fcs):
            x = fc(x)
        return x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return self.block(x)
