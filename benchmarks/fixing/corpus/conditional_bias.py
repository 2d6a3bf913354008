# mistakes: NA102 bias=not self.use_bias inverted logic, NA105 none; models: CondNet(); input: 4x3x16x16
import torch.nn as nn


class CondNet(nn.Module):
    def __init__(self, norm='bn', chans=(8, 16)):
        super().__init__()
        use_bias = norm == 'bn'  # wrong way round
        mods = []
        last = 3
        for c in chans:
            mods += [
                nn.Conv2d(last, c, 3, 2, 1, bias=use_bias),
                nn.BatchNorm2d(c) if norm == 'bn' else nn.Identity(),
                nn.LeakyReLU(0.1, inplace=True),
            ]
            last = c
        mods += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 10)]
        self.net = nn.Sequential(*mods)

    def forward(self, x):
        return self.net(x)
