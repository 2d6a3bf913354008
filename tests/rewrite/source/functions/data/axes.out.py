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
        x = F.log_softmax(self.fc(x), dim=1)
        x = self.fc(x)
        x = F.softmax(x, dim=-1)
        x = self.fc(x)
        return F.layer_norm(x, x.shape[-1:], eps=1e-6)
