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

        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        att = F.softmax(att, dim=-1)
        att = self.drop(att)
        y = att @ v
        return y.transpose(1, 2).contiguous().view(B, T, C)


class Plain(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.scale = 0.25
        self.softmax_dropout = 0.2

    def forward(self, x):
        scores = torch.matmul(self.q(x), self.k(x).transpose(1, 2)) * self.scale
        weights = F.dropout(scores.softmax(dim=-1), p=self.softmax_dropout, training=self.training)
        return torch.matmul(weights, self.v(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Causal(8, 2, 16), Plain(8))

    def forward(self, x):
        return self.blocks(x)
