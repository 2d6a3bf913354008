# unsafe: axes are counted from the first, so that it is something else for inputs with more axes
# unsafe: axes are counted from the first, so that it is something else for inputs with more axes
# The function counts axes as the expression does; where several are counted differently it is the same for three axes alone.
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = torch.log(torch.softmax(self.fc(x), dim=1))
        x = self.fc(x)
        powers = torch.exp(x - x.amax(2, keepdim=True))
        x = powers / powers.sum(-1, keepdim=True)
        x = self.fc(x)
        mean = x.mean(2, keepdim=True)
        var = (x - mean).pow(2).mean(2, keepdim=True)
        return (x - mean) / torch.sqrt(var + 1e-6)
