import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from torch.utils.data import DataLoader
from torchvision import transforms as T


class TwoViews:
    def __init__(self, t):
        self.t = t

    def __call__(self, x):
        return self.t(x), self.t(x)


class SimCLR(nn.Module):
    def __init__(self, out_dim=128):
        super().__init__()
        f = torchvision.models.resnet18(num_classes=out_dim)
        dim = f.fc.in_features
        f.fc = nn.Identity()
        self.encoder = f
        self.projector = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out_dim))

    def forward(self, x):
        h = self.encoder(x)
        return h, F.normalize(self.projector(h), dim=1)


def nt_xent(z1, z2, t=0.5):
    z = torch.cat([z1, z2])
    sim = z @ z.T / t
    sim.fill_diagonal_(-1e9)
    n = len(z1)
    target = torch.cat([torch.arange(n) + n, torch.arange(n)]).to(z.device)
    return F.cross_entropy(sim, target)


def pretrain(model, loader, opt, epochs, device):
    model.train()
    for ep in range(epochs):
        tot = 0
        for (a, b), _ in loader:
            _, za = model(a.to(device))
            _, zb = model(b.to(device))
            loss = nt_xent(za, zb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        print('pretrain', ep, tot / len(loader))


def extract(encoder, loader, device):
    feats, labels = [], []
    with torch.no_grad():
        for x, y in loader:
            feats.append(encoder(x.to(device)).cpu())  # expect: NA401
            labels.append(y)
    return torch.cat(feats), torch.cat(labels)


def linear_eval(encoder, train, test, device, epochs=100):
    xtr, ytr = extract(encoder, train, device)
    xte, yte = extract(encoder, test, device)
    clf = nn.Linear(xtr.shape[1], 10)
    opt = torch.optim.LBFGS(clf.parameters(), max_iter=epochs)

    def closure():
        opt.zero_grad()
        loss = F.cross_entropy(clf(xtr), ytr)
        loss.backward()
        return loss

    opt.step(closure)
    return (clf(xte).argmax(1) == yte).float().mean().item()


if __name__ == '__main__':
    ap = argparse.ArgumentParser()
    ap.add_argument('--epochs', type=int, default=200)
    ap.add_argument('--device', default='cuda:0')
    args = ap.parse_args()
    aug = T.Compose([T.RandomResizedCrop(32), T.RandomHorizontalFlip(), T.ColorJitter(.4, .4, .4, .1), T.ToTensor()])
    views = torchvision.datasets.CIFAR10('.', transform=TwoViews(aug), download=True)
    plain = torchvision.datasets.CIFAR10('.', transform=T.ToTensor())
    test = torchvision.datasets.CIFAR10('.', train=False, transform=T.ToTensor())
    model = SimCLR().to(args.device)
    opt = torch.optim.Adam(model.parameters(), lr=3e-4)
    pretrain(model, DataLoader(views, 512, shuffle=True, drop_last=True, num_workers=8), opt, args.epochs, args.device)
    acc = linear_eval(model.encoder, DataLoader(plain, 512), DataLoader(test, 512), args.device)
    print('linear accuracy', acc)
