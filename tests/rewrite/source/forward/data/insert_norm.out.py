# fix: insert_layer block*.conv layer=torch.nn.BatchNorm2d num_features=4
from torch.nn import BatchNorm2d, Conv2d, Module, ReLU


class Block(Module):
    def __init__(self, c):
        super().__init__()
        self.conv = Conv2d(c, 4, 3)
        self.norm_2 = BatchNorm2d(num_features=4)
        self.norm = None
        self.act = ReLU()

    def forward(self, x):
        return self.act(self.norm_2(self.conv(x)))


class Net(Module):
    def __init__(self):
        super().__init__()
        self.block1 = Block(3)
        self.block2 = Block(4)

    def forward(self, x):
        return self.block2(self.block1(x))
