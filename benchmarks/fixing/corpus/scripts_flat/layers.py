import torch.nn as nn

Norm = nn.BatchNorm2d


def conv3x3(in_planes, out_planes, stride=1, **kwargs):
    return nn.Conv2d(in_planes, out_planes, kernel_size=3, stride=stride, padding=1, **kwargs)
