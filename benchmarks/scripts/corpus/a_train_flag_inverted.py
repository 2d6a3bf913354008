import argparse
from collections import defaultdict

import torch
from torch import nn, optim
from torchvision import datasets, transforms


class LeNetBN(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        return self.fc(self.body(x))


def loop(net, loader, device, optimizer=None, training=True):
    if training:
        net.train()
    log = defaultdict(float)
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        if training:
            out = net(x)
            loss = nn.functional.cross_entropy(out, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        else:
            with torch.no_grad():
                out = net(x)  # expect: NA401
                loss = nn.functional.cross_entropy(out, y)
        log['loss'] += loss.item() * len(y)
        log['acc'] += (out.argmax(-1) == y).sum().item()
        log['n'] += len(y)
    return log['loss'] / log['n'], log['acc'] / log['n']


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--device', default='cpu')
    p.add_argument('--epochs', type=int, default=5)
    a = p.parse_args()
    sets = {s: datasets.MNIST('.', train=s == 'train', download=True, transform=transforms.ToTensor()) for s in ('train', 'test')}
    loaders = {s: torch.utils.data.DataLoader(d, 128, shuffle=s == 'train') for s, d in sets.items()}
    net = LeNetBN().to(a.device)
    optimizer = optim.Adam(net.parameters())
    for e in range(a.epochs):
        print(e, 'train', *loop(net, loaders['train'], a.device, optimizer))
        print(e, 'test', *loop(net, loaders['test'], a.device, training=False))


if __name__ == '__main__':
    main()
