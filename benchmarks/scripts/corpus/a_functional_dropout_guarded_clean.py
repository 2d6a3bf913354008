import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, d, h, p=.1):
        super().__init__()
        self.h, self.p = h, p
        self.qkv, self.o = nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (self.h, -1)).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.p if self.training else 0., is_causal=True)
        y = self.o(y.transpose(1, 2).flatten(2))
        return F.dropout(y, self.p, self.training)


class MLP(nn.Module):
    def __init__(self, d, p=.1):
        super().__init__()
        self.a, self.b, self.p = nn.Linear(d, 4 * d), nn.Linear(4 * d, d), p

    def forward(self, x):
        x = self.b(F.gelu(self.a(x)))
        if self.training and self.p > 0:
            x = F.dropout(x, p=self.p)
        return x


class DropPath(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0.:
            return x
        keep = 1 - self.p
        return x * x.new_empty(len(x), 1, 1).bernoulli_(keep) / keep


class WordDropout(nn.Module):
    def forward(self, ids, p=.1, unk=3):
        if not self.training:
            return ids
        mask = F.dropout(torch.ones_like(ids, dtype=torch.float), p) == 0
        return ids.masked_fill(mask, unk)


class MCHead(nn.Module):
    """Dropout stays on at test time: samples of the posterior."""

    def __init__(self, d, k, p=.2):
        super().__init__()
        self.lin, self.p = nn.Linear(d, k), p

    def forward(self, x, samples=1):
        return torch.stack([self.lin(F.dropout(x, self.p, training=True)) for _ in range(samples)])


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.att, self.mlp, self.dp = Attention(d, h), MLP(d), DropPath(.1)

    def forward(self, x):
        x = x + self.dp(self.att(self.n1(x)))
        return x + self.dp(self.mlp(self.n2(x)))


def augment(x):
    # random erasing of whole channels on the input: plain function, called from the training loop alone
    return F.dropout2d(x, .05)
