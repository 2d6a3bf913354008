"""Face verification: train with an ArcFace head, evaluate on LFW pairs every few thousand steps."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from easydict import EasyDict
from torchvision.models import mobilenet_v2

from faces import lfw_pairs, train_loader

cfg = EasyDict(emb=256, s=30., m=.5, lr=.1, steps=20000, verify_every=2000)


class ArcMargin(nn.Module):
    def __init__(self, n_in, n_cls):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_cls, n_in))
        nn.init.xavier_uniform_(self.weight)
        self.cos_m, self.sin_m = math.cos(cfg.m), math.sin(cfg.m)

    def forward(self, x, y):
        cos = F.linear(F.normalize(x), F.normalize(self.weight))
        phi = cos * self.cos_m - (1 - cos ** 2).clamp(0, 1).sqrt() * self.sin_m
        hot = F.one_hot(y, cos.size(1))
        return cfg.s * torch.where(hot.bool(), phi, cos)


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = mobilenet_v2(weights="DEFAULT").features
        self.neck = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, cfg.emb), nn.BatchNorm1d(cfg.emb))

    def forward(self, x):
        return self.neck(self.trunk(x))


class Learner(object):
    def __init__(self):
        self.loader, n_cls = train_loader(batch_size=256, drop_last=True)
        self.net = Embedder().cuda()
        self.head = ArcMargin(cfg.emb, n_cls).cuda()
        self.opt = torch.optim.SGD([{'params': self.net.parameters()}, {'params': self.head.parameters()}], lr=cfg.lr, momentum=.9)
        self.step = 0

    def verify(self, batch=64):
        self.net.eval()  # expect: NA402
        sims, same = [], []
        with torch.no_grad():
            for a, b, y in lfw_pairs(batch):
                sims.append(F.cosine_similarity(self.net(a.cuda()), self.net(b.cuda())).cpu())
                same.append(y)
        sims, same = torch.cat(sims), torch.cat(same)
        return max(((sims > t) == same).float().mean().item() for t in torch.linspace(-1, 1, 200))

    def fit(self):
        self.net.train()
        while self.step < cfg.steps:
            for x, y in self.loader:
                x, y = x.cuda(), y.cuda()
                loss = F.cross_entropy(self.head(self.net(x), y), y)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
                self.step += 1
                if self.step % cfg.verify_every == 0:
                    print(self.step, loss.item(), 'lfw', self.verify())
                    torch.save(self.net.state_dict(), f'face_{self.step}.pt')


if __name__ == '__main__':
    Learner().fit()
