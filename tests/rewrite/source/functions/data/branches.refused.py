# refused: `gate` at net.py:18 is not assigned by one plain statement
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = self.fc(x)
        if self.fc.in_features == 8:
            gate = torch.sigmoid(x)
        else:
            gate = torch.tanh(x)
        # Which one it is hangs on the width.
        return x * gate
