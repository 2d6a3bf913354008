# mistakes: NA102 in make_layers, NA105 between the two classifier activations; models: vgg_small(); input: 4x3x32x32
"""VGG for CIFAR, after torchvision."""
import torch
from torch import nn

cfg = {
    "S": [16, "M", 32, "M", 64, 64, "M"],
    "M": [16, 16, "M", 32, 32, "M", 64, 64, "M"],
}


def make_layers(cfg, batch_norm=True):
    layers = []
    in_channels = 3
    for v in cfg:
        if v == "M":
            layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
        else:
            conv2d = nn.Conv2d(in_channels, v, kernel_size=3, padding=1)
            if batch_norm:
                layers += [conv2d, nn.BatchNorm2d(v), nn.ReLU(inplace=True)]
            else:
                layers += [conv2d, nn.ReLU(inplace=True)]
            in_channels = v
    return nn.Sequential(*layers)


class VGG(nn.Module):
    def __init__(self, features, num_classes=10):
        super().__init__()
        self.features = features
        self.classifier = nn.Sequential(
            nn.Linear(64 * 4 * 4, 128),
            nn.ReLU(True),
            nn.ReLU(True),  # pasted twice
            nn.Dropout(),
            nn.Linear(128, num_classes),
        )

    def forward(self, x):
        x = self.features(x)
        x = torch.flatten(x, 1)
        return self.classifier(x)


def vgg_small():
    return VGG(make_layers(cfg["S"]))


def vgg_medium():
    return VGG(make_layers(cfg["M"]))
