"""A small detector trained with two images per step, the usual size where images are large.

Batch normalization computes its statistics from these two images. On ImageNet the top-1 error of ResNet-50 grows from 23.6%
at 32 images per device to 34.7% at 2; group normalization stays at 24.1% (Wu and He, 2018). The comment beside the class tells
how the model is trained; ``--batch-size 2 --task detection`` says the same for a run.
"""

from torch import nn


class Detector(nn.Module):  # normadvisor: batch_size=2 task=detection
    def __init__(self, classes=20, anchors=3):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 32, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Conv2d(64, 64, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.scores = nn.Conv2d(64, anchors * classes, kernel_size=1)
        self.boxes = nn.Conv2d(64, anchors * 4, kernel_size=1)

    def forward(self, images):
        x = self.head(self.backbone(images))
        return self.scores(x), self.boxes(x)
