# input: 2x8x8
# The scale stays what the source says it is: only the root of the width is that of the function.
import math

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.width, self.scale = 8, 0.3

    def forward(self, x):
        q = self.fc(x)
        x = F.scaled_dot_product_attention(q, x, x)
        q = self.fc(x)
        x = F.scaled_dot_product_attention(q, x, x, scale=1 / math.sqrt(x.shape[1]))
        q = self.fc(x)
        x = F.scaled_dot_product_attention(q, x, x, scale=1 / math.sqrt(8))
        q = self.fc(x)
        x = F.scaled_dot_product_attention(q, x, x, scale=self.width**-0.5)
        q = self.fc(x)
        x = F.scaled_dot_product_attention(q, x, x, scale=self.scale / (1 + self.width))
        x = F.scaled_dot_product_attention(self.fc(x), x, x, scale=self.scale)
        q = self.fc(x)
        x = F.scaled_dot_product_attention(q, x, x, scale=1.0)
        q = self.fc(x)
        c = 0.5
        c = 0.7
        return F.scaled_dot_product_attention(q, x, x, scale=0.5) + c
