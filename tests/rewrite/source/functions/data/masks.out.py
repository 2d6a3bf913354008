# input: 2x8x8
# unsafe: a mask with fewer than two axes, or an added one that is not of floating point, means something else to the function
# One tensor is all of queries, keys and values; the mask is what a caller hands over, or a buffer.
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.register_buffer("causal", torch.ones(8, 8).tril())

    def attend(self, x, mask):
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask, scale=0.5)

    def forward(self, x):
        y = self.attend(self.fc(x), x)
        return F.scaled_dot_product_attention(y, y, y, attn_mask=self.causal != 0, scale=0.5)
