import torch.nn as nn


def conv_bn(cin, cout, stride):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(True))


class WideNet(nn.Module):
    def __init__(self, width=64, num_classes=100, depth=3):
        super().__init__()
        layers, c = [conv_bn(3, width, 1)], width
        for _ in range(depth):
            layers.append(conv_bn(c, c * 2, 2))
            c *= 2
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(c, num_classes)

    def forward(self, x):
        return self.fc(self.pool(self.features(x)).flatten(1))


model_dict = {
    'wide64': lambda **kw: WideNet(64, **kw),
    'wide16': lambda **kw: WideNet(16, **kw),
}


def create_model(name, num_classes):
    return model_dict[name](num_classes=num_classes)
