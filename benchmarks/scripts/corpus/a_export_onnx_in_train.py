import sys

import torch
import torch.nn as nn


def conv_bn(inp, oup, stride):
    return nn.Sequential(nn.Conv2d(inp, oup, 3, stride, 1, bias=False), nn.BatchNorm2d(oup), nn.ReLU6(inplace=True))


class TinyNet(nn.Module):
    def __init__(self, classes=100):
        super().__init__()
        self.stem = conv_bn(3, 16, 2)
        self.body = nn.Sequential(*[conv_bn(16 * 2 ** i, 16 * 2 ** (i + 1), 2) for i in range(4)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(256, classes)

    def forward(self, x):
        return self.fc(self.pool(self.body(self.stem(x))).flatten(1))


def convert(ckpt, out):
    net = TinyNet()
    sd = torch.load(ckpt, map_location="cpu")["state_dict"]
    net.load_state_dict({k.replace("module.", ""): v for k, v in sd.items()}, strict=True)
    dummy = torch.randn(1, 3, 224, 224)
    torch.onnx.export(net, dummy, out, input_names=["image"], output_names=["logits"], dynamo=True)  # expect: NA403
    print("wrote", out)


convert(sys.argv[1], sys.argv[2])
