# mistakes: NA102 at conv1, NA104 InstanceNorm behind BatchNorm (contested); models: DoubleNorm(); input: 4x3x16x16
import torch
import torch.nn.functional as F


class DoubleNorm(torch.nn.Module):
    def __init__(self):
        torch.nn.Module.__init__(self)
        self.conv1 = torch.nn.Conv2d(3, 16, 5, 1, 2)
        self.bn1 = torch.nn.BatchNorm2d(16)
        self.gn1 = torch.nn.InstanceNorm2d(16)
        self.conv2 = torch.nn.Conv2d(16, 16, 3, 1, 1, 1, 1, False)
        self.bn2 = torch.nn.BatchNorm2d(16)
        self.out = torch.nn.Linear(16, 7)

    def forward(self, x):
        x = F.relu(self.gn1(self.bn1(self.conv1(x))))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.bn2(self.conv2(x)))
        return self.out(F.adaptive_avg_pool2d(x, 1).flatten(1))
