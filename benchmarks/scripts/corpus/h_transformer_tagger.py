import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from conll import ConllDataset, pad_collate


class Attention(nn.Module):
    def __init__(self, d, heads, p):
        super().__init__()
        self.h, self.p = heads, p
        self.qkv, self.o = nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, x, mask):
        B, T, D = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.h, D // self.h).permute(2, 0, 3, 1, 4)
        w = (q @ k.transpose(-1, -2)) / math.sqrt(D // self.h)
        w = w.masked_fill(~mask[:, None, None], -1e9).softmax(-1)
        w = nn.Dropout(self.p)(w)  # expect: NA509
        return self.o((w @ v).transpose(1, 2).reshape(B, T, D))


class Layer(nn.Module):
    def __init__(self, d, heads, p):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.att = Attention(d, heads, p)
        self.ff = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.drop = nn.Dropout(p)

    def forward(self, x, mask):
        x = x + self.drop(self.att(self.n1(x), mask))
        return x + self.drop(self.ff(self.n2(x)))


class Tagger(nn.Module):
    def __init__(self, vocab, tags, d=256, layers=4, heads=8, p=0.1):
        super().__init__()
        self.emb, self.pos = nn.Embedding(vocab, d, padding_idx=0), nn.Parameter(torch.randn(512, d) * .02)
        self.layers = nn.ModuleList([Layer(d, heads, p) for _ in range(layers)])
        self.out = nn.Linear(d, tags)

    def forward(self, ids):
        mask = ids != 0
        x = self.emb(ids) + self.pos[:ids.size(1)]
        for layer in self.layers:
            x = layer(x, mask)
        return self.out(x)


def f1(model, loader, device):
    tp = fp = fn = 0
    model.eval()
    with torch.no_grad():
        for ids, tags in loader:
            pred = model(ids.to(device)).argmax(-1).cpu()
            pred[tags < 0] = 0
            tp += ((pred == tags) & (tags > 0)).sum().item()
            fp += ((pred != tags) & (pred > 0)).sum().item()
            fn += ((pred != tags) & (tags > 0)).sum().item()
    return 2 * tp / max(2 * tp + fp + fn, 1)


def main(device="cuda", epochs=20):
    train, dev = ConllDataset("train"), ConllDataset("dev")
    tl = DataLoader(train, 32, shuffle=True, collate_fn=pad_collate)
    dl = DataLoader(dev, 64, collate_fn=pad_collate)
    model = Tagger(len(train.vocab), len(train.tags)).to(device)
    opt = torch.optim.Adam(model.parameters(), 3e-4)
    for e in range(epochs):
        model.train()
        for ids, tags in tl:
            loss = F.cross_entropy(model(ids.to(device)).flatten(0, 1), tags.flatten().to(device), ignore_index=-1)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(e, f1(model, dl, device))


if __name__ == "__main__":
    main()
