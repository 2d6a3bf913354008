# fix: insert_layer block.fcs.0 layer=torch.nn.ReLU
# refused: net.py:13 depends on the position of `block.fcs.0`
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
