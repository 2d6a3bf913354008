# mistakes: NA102 via BaseNet._conv, NA110 inherited self.drop unused; models: ClassifierNet() WideNet(); input: 4x3x24x24
import abc

import torch
import torch.nn as nn


class InitMixin:
    def reset(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
                if m.bias is not None:
                    nn.init.zeros_(m.bias)


class BaseNet(InitMixin, nn.Module, abc.ABC):
    width = 8

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.layer1 = self._conv(3, self.width)
        self.layer2 = self._conv(self.width, self.width * 2, stride=2)
        self.build_head()
        self.reset()

    def _conv(self, i, o, stride=1):
        return nn.Sequential(
            nn.Conv2d(i, o, 3, stride=stride, padding=1),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
        )

    @abc.abstractmethod
    def build_head(self): ...

    def features(self, x):
        return self.layer2(self.layer1(x)).flatten(2).mean(2)


class ClassifierNet(BaseNet):
    def build_head(self):
        self.head = nn.Linear(self.width * 2, 10)

    def forward(self, x):
        return self.head(self.features(x))


class WideNet(ClassifierNet):
    width = 16
