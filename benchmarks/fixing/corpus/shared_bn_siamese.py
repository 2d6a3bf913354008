# mistakes: NA111 self.bn used at three points of Encoder, NA105 the doubled relu; models: Siamese(); input: 4x1x28x28 4x1x28x28
import torch
import torch.nn as nn
import torch.nn.functional as F


class Encoder(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.conv1 = nn.Conv2d(1, ch, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(ch)  # one for all
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.bn(self.conv1(x)))
        x = F.max_pool2d(x, 2)
        x = self.relu(self.bn(self.conv2(x)))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.relu(self.bn(self.conv3(x))))
        return x.mean(dim=[2, 3])


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Linear(32, 1)

    def forward(self, a, b):
        return self.head(torch.cat((self.encoder(a), self.encoder(b)), 1))
