# mistakes: NA102 in Conv2dSame (always followed by BatchNorm); models: EffStem(); input: 4x3x33x33
import math
import torch.nn as nn
import torch.nn.functional as F


class Conv2dSame(nn.Conv2d):
    """Conv2d with TensorFlow's 'SAME' padding."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, dilation=1, groups=1, bias=True):
        super().__init__(in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias)

    def forward(self, x):
        ih, iw = x.size()[-2:]
        kh, kw = self.weight.size()[-2:]
        oh, ow = math.ceil(ih / self.stride[0]), math.ceil(iw / self.stride[1])
        ph = max((oh - 1) * self.stride[0] + (kh - 1) * self.dilation[0] + 1 - ih, 0)
        pw = max((ow - 1) * self.stride[1] + (kw - 1) * self.dilation[1] + 1 - iw, 0)
        if ph > 0 or pw > 0:
            x = F.pad(x, [pw // 2, pw - pw // 2, ph // 2, ph - ph // 2])
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class EffStem(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem = Conv2dSame(3, 16, kernel_size=3, stride=2)
        self._bn0 = nn.BatchNorm2d(16, momentum=0.01, eps=1e-3)
        self._depthwise = Conv2dSame(16, 16, kernel_size=3, groups=16)
        self._bn1 = nn.BatchNorm2d(16, momentum=0.01, eps=1e-3)
        self._swish = nn.SiLU()
        self._fc = nn.Linear(16, 5)

    def forward(self, inputs):
        x = self._swish(self._bn0(self._conv_stem(inputs)))
        x = self._swish(self._bn1(self._depthwise(x)))
        x = F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)
        return self._fc(x)
