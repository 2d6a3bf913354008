# mistakes: NA102 conv3x3(**kwargs) in another file, the first conv of WideNet feeds no norm; models: WideNet(); input: 4x3x16x16
import torch.nn as nn
import torch.nn.functional as F
from layers import Norm, conv3x3


class wide_basic(nn.Module):
    def __init__(self, in_planes, planes, dropout_rate=0.3, stride=1):
        super(wide_basic, self).__init__()
        self.bn1 = Norm(in_planes)
        self.conv1 = conv3x3(in_planes, planes)
        self.dropout = nn.Dropout(p=dropout_rate)
        self.bn2 = Norm(planes)
        self.conv2 = conv3x3(planes, planes, stride=stride)

        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=True),
            )

    def forward(self, x):
        out = self.dropout(self.conv1(F.relu(self.bn1(x))))
        out = self.conv2(F.relu(self.bn2(out)))
        out += self.shortcut(x)
        return out


class WideNet(nn.Module):
    def __init__(self, num_classes=10):
        super(WideNet, self).__init__()
        self.in_planes = 8
        self.conv1 = conv3x3(3, 8)
        self.layer1 = self._wide_layer(wide_basic, 16, 1, 0.3, stride=1)
        self.layer2 = self._wide_layer(wide_basic, 32, 1, 0.3, stride=2)
        self.bn1 = Norm(32, momentum=0.9)
        self.linear = nn.Linear(32, num_classes)

    def _wide_layer(self, block, planes, num_blocks, dropout_rate, stride):
        strides = [stride] + [1]*(int(num_blocks)-1)
        layers = []
        for stride in strides:
            layers.append(block(self.in_planes, planes, dropout_rate, stride))
            self.in_planes = planes
        return nn.Sequential(*layers)

    def forward(self, x):
        out = self.conv1(x)
        out = self.layer1(out)
        out = self.layer2(out)
        out = F.relu(self.bn1(out))
        out = F.avg_pool2d(out, 8)
        out = out.view(out.size(0), -1)
        out = self.linear(out)
        return out
