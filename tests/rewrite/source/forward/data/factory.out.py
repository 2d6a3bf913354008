# fix: insert_layer 0 layer=torch.nn.ReLU
# fix: remove_layer 4
# fix: swap_layers 2 3
# model: build
# input: 2x3x8x8
import torch


def build():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 4, 1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU())
