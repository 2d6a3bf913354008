# unsafe: axes are counted from the first, so that it is something else for inputs with more axes
import math

import torch
from torch import nn
from torch.nn import functional as F


class Causal(nn.Module):
    def __init__(self, width, heads, block):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.drop = nn.Dropout(0.1)
        self.heads = heads
        self.register_buffer("bias", torch.tril(torch.ones(block, block)).view(1, 1, block, block))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.qkv(x).split(C, dim=2)
        k = k.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        q = q.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        v = v.view(B, T, self.heads, C // self.heads).transpose(1, 2)

        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias[:, :, :T, :T] != 0, dropout_p=self.drop.p if self.drop.training else 0.0)
        return y.transpose(1, 2).contiguous().view(B, T, C)


class Plain(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.scale = 0.25
        self.softmax_dropout = 0.2

    def forward(self, x):
        return F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x), dropout_p=self.softmax_dropout if self.training else 0.0, scale=self.scale)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Causal(8, 2, 16), Plain(8))

    def forward(self, x):
        return self.blocks(x)
