# mistakes: NA102 in ConvBNReLU(nn.Sequential) super().__init__, NA105 in the very long line; models: Lines(); input: 4x3x16x16
import torch.nn as nn

class ConvBNReLU(nn.Sequential):
    def __init__(self, in_planes, out_planes, kernel_size=3, stride=1, groups=1):
        padding = (kernel_size - 1) // 2
        super(ConvBNReLU, self).__init__(
            nn.Conv2d(in_planes, out_planes, kernel_size, stride, padding, groups=groups),
            nn.BatchNorm2d(out_planes),
            nn.ReLU6(inplace=True)
        )

class Lines(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(ConvBNReLU(3, 8), ConvBNReLU(8, 16, stride=2), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Dropout2d(0.1), nn.ReLU(), ConvBNReLU(16, 16, groups=16), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(16, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, 10))  # everything in one line, as the paper's table has it: t, c, n, s
    def forward(self, x): return self.net(x)
