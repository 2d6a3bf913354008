# fix: replace_layer 0.1 torch.nn.GroupNorm num_groups=3 num_channels=6
# fix: replace_layer 0.2|1.1|1.2 torch.nn.GroupNorm num_groups=4 num_channels=module.num_features
# refused: `norm`, which decides the class, is used at class_of_groups.py:11 as well; its layers need different values of `num_groups`: 3 and 4
from torch import nn


class Block(nn.Sequential):
    def __init__(self, inputs, outputs, norm=nn.BatchNorm2d):
        first = nn.Conv2d(inputs, outputs, 1)
        second = norm(outputs)
        super().__init__(first, second, norm(outputs))


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(Block(3, 6), Block(6, 8), Block(8, 4, nn.Identity))
