import argparse
import itertools

import torch
import torch.nn.functional as F
from torch import nn


class WideBlock(nn.Module):
    def __init__(self, i, o, s, p):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(i), nn.BatchNorm2d(o)
        self.c1, self.c2 = nn.Conv2d(i, o, 3, s, 1), nn.Conv2d(o, o, 3, 1, 1)
        self.skip = nn.Conv2d(i, o, 1, s) if (i != o or s != 1) else nn.Identity()
        self.p = p

    def forward(self, x):
        h = self.c1(F.relu(self.bn1(x)))
        h = F.dropout(F.relu(self.bn2(h)), self.p)  # expect: NA509
        return self.c2(h) + self.skip(x)


class WRN(nn.Module):
    def __init__(self, k=2, classes=10):
        super().__init__()
        w = [16, 16 * k, 32 * k, 64 * k]
        self.stem = nn.Conv2d(3, w[0], 3, 1, 1)
        self.blocks = nn.Sequential(*[WideBlock(w[i], w[i + 1], 1 if i == 0 else 2, .3) for i in range(3)])
        self.fc = nn.Linear(w[-1], classes)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def create_model(ema=False):
    model = WRN().cuda()
    if ema:
        for param in model.parameters():
            param.detach_()
    return model


def update_ema_variables(model, ema_model, alpha, global_step):
    alpha = min(1 - 1 / (global_step + 1), alpha)
    for ema_param, param in zip(ema_model.parameters(), model.parameters()):
        ema_param.data.mul_(alpha).add_(param.data, alpha=1 - alpha)


def ramp(e, length=80):
    return float(torch.exp(torch.tensor(-5. * (1 - min(e, length) / length) ** 2)))


def train(labeled, unlabeled, model, ema_model, optimizer, epoch, args):
    global global_step
    model.train()
    ema_model.train()
    for (x, y), ((u1, u2), _) in zip(itertools.cycle(labeled), unlabeled):
        x, y, u1, u2 = x.cuda(), y.cuda(), u1.cuda(), u2.cuda()
        sup = F.cross_entropy(model(x), y)
        with torch.no_grad():
            target = F.softmax(ema_model(u2), dim=1)
        cons = F.mse_loss(F.softmax(model(u1), dim=1), target)
        loss = sup + args.consistency * ramp(epoch) * cons
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        global_step += 1
        update_ema_variables(model, ema_model, args.ema_decay, global_step)


def validate(loader, model):
    model.eval()
    right = total = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x.cuda()).argmax(1).cpu() == y).sum().item()
            total += y.shape[0]
    return right / total


global_step = 0

if __name__ == '__main__':
    ap = argparse.ArgumentParser()
    ap.add_argument('--consistency', type=float, default=100.)
    ap.add_argument('--ema-decay', type=float, default=.999)
    ap.add_argument('--epochs', type=int, default=180)
    args = ap.parse_args()
    from ssl_data import loaders
    labeled, unlabeled, val = loaders()
    model, ema_model = create_model(), create_model(ema=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, nesterov=True)
    for epoch in range(args.epochs):
        train(labeled, unlabeled, model, ema_model, optimizer, epoch, args)
        print(epoch, validate(val, model), validate(val, ema_model))
