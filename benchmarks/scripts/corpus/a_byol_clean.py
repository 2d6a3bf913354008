import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet50


def mlp(i, o, h=4096):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(inplace=True), nn.Linear(h, o))


class BYOL(nn.Module):
    def __init__(self, base_tau=0.996):
        super().__init__()
        net = resnet50()
        net.fc = mlp(2048, 256)
        self.online = net
        self.target = copy.deepcopy(net)
        for p in self.target.parameters():
            p.requires_grad = False
        self.predictor = mlp(256, 256)
        self.base_tau = base_tau

    @torch.no_grad()
    def update_target(self, k, K):
        tau = 1 - (1 - self.base_tau) * (math.cos(math.pi * k / K) + 1) / 2
        for o, t in zip(self.online.parameters(), self.target.parameters()):
            t.mul_(tau).add_(o, alpha=1 - tau)

    def forward(self, a, b):
        pa, pb = self.predictor(self.online(a)), self.predictor(self.online(b))
        with torch.no_grad():
            ta, tb = self.target(a), self.target(b)
        return 2 - F.cosine_similarity(pa, tb).mean() - F.cosine_similarity(pb, ta).mean()


def knn(net, bank, queries, k=20):
    mode = net.training
    net.train(False)
    with torch.no_grad():
        fb = torch.cat([F.normalize(net(x.cuda())) for x, _ in bank])
        yb = torch.cat([y for _, y in bank]).cuda()
        good = n = 0
        for x, y in queries:
            sim = F.normalize(net(x.cuda())) @ fb.T
            vote = yb[sim.topk(k).indices].mode(1).values
            good += (vote.cpu() == y).sum().item()
            n += len(y)
    net.train(mode)
    return good / n


def main(pairs, bank, queries, epochs=300):
    byol = BYOL().cuda()
    params = [*byol.online.parameters(), *byol.predictor.parameters()]
    opt = torch.optim.SGD(params, .2, momentum=.9)
    byol.train()
    step, total = 0, epochs * len(pairs)
    for epoch in range(epochs):
        for (a, b), _ in pairs:
            loss = byol(a.cuda(), b.cuda())
            opt.zero_grad()
            loss.backward()
            opt.step()
            byol.update_target(step, total)
            step += 1
        if epoch % 10 == 9:
            print(epoch, knn(byol.online, bank, queries))


if __name__ == "__main__":
    from imagenet100 import get

    main(*get(batch_size=256))
