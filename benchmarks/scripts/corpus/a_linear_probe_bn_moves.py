import argparse

import torch
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.datasets import Flowers102
from torchvision.transforms import v2


def build(classes):
    net = models.resnet50(weights=models.ResNet50_Weights.DEFAULT)
    for param in net.parameters():
        param.requires_grad = False
    net.fc = nn.Linear(2048, classes)
    return net


def main(args):
    tf = v2.Compose([v2.RandomResizedCrop(224), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    dl = {s: DataLoader(Flowers102(args.root, s, transform=tf, download=True), 32, shuffle=s == 'train', drop_last=s == 'train')
          for s in ('train', 'val')}
    net = build(102).to(args.device)
    opt = optim.SGD(net.fc.parameters(), lr=.1, momentum=.9)
    for epoch in range(args.epochs):
        net.train()
        for x, y in dl['train']:
            x, y = x.to(args.device), y.to(args.device)
            loss = nn.functional.cross_entropy(net(x), y)  # expect: NA210:info
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            acc = sum((net(x.to(args.device)).argmax(1).cpu() == y).sum() for x, y in dl['val']) / len(dl['val'].dataset)
        print(f'{epoch} {acc:.4f}')


if __name__ == '__main__':
    ap = argparse.ArgumentParser()
    ap.add_argument('--root', default='data')
    ap.add_argument('--device', default='cuda')
    ap.add_argument('--epochs', type=int, default=10)
    main(ap.parse_args())
