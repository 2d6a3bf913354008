import itertools
import os
import sys
import torch
import torch.nn as nn
import torchvision
from torch.utils.data import DataLoader
from torchvision import transforms as T


class ResUnit(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c))

    def forward(self, x):
        return torch.relu(x + self.f(x))


def net(depth=4, c=64):
    return nn.Sequential(nn.Conv2d(3, c, 3, 2, 1), *[ResUnit(c) for _ in range(depth)], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


def loss_and_hits(model, x, y):
    out = model(x)
    return nn.functional.cross_entropy(out, y), int((out.argmax(1) == y).sum())


model = net().cuda()
opt = torch.optim.SGD(model.parameters(), .05, momentum=.9)
sets = [torchvision.datasets.SVHN('.', split=s, download=True, transform=T.ToTensor()) for s in ('train', 'test')]
train, test = DataLoader(sets[0], 128, shuffle=True), DataLoader(sets[1], 512)
patience, best = 0, -1

for epoch in itertools.count():
    if epoch == 0:
        model.train()
    for x, y in train:
        loss, _ = loss_and_hits(model, x.cuda(), y.cuda())
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()  # expect: NA402
    with torch.no_grad():
        good = sum(loss_and_hits(model, x.cuda(), y.cuda())[1] for x, y in test)
    print('epoch', epoch, 'correct', good, 'of', len(sets[1]), file=sys.stderr)
    if good > best:
        best, patience = good, 0
        torch.save(model.state_dict(), os.environ.get('OUT', 'svhn.pt'))
    else:
        patience += 1
    if patience > 5:
        break
