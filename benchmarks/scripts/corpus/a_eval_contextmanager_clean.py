"""Keypoint regression; evaluation switches modes through a context manager and a decorator."""
import contextlib
import functools

import torch
from torch import nn
from torchvision.models import regnet_y_400mf


@contextlib.contextmanager
def evaluating(*nets):
    modes = [n.training for n in nets]
    try:
        for n in nets:
            n.eval()
        yield nets
    finally:
        for n, mode in zip(nets, modes):
            n.train(mode)


def eval_mode(fn):
    @functools.wraps(fn)
    def inner(self, *args, **kwargs):
        was = self.net.training
        self.net.eval()
        with torch.no_grad():
            result = fn(self, *args, **kwargs)
        self.net.train(was)
        return result

    return inner


class Keypoints:
    def __init__(self, n_points=17, lr=1e-3):
        self.net = regnet_y_400mf(weights="IMAGENET1K_V2")
        self.net.fc = nn.Linear(self.net.fc.in_features, 2 * n_points)
        self.net.cuda()
        self.opt = torch.optim.Adam(self.net.parameters(), lr)

    @eval_mode
    def score(self, loader):
        errs = [(self.net(x.cuda()).view(len(x), -1, 2).cpu() - y).norm(dim=-1).mean() for x, y in loader]
        return torch.stack(errs).mean().item()

    @eval_mode
    def predict(self, x):
        return self.net(x.cuda()).cpu()

    def fit(self, train, val, epochs):
        self.net.train()
        for e in range(epochs):
            for i, (x, y) in enumerate(train):
                loss = nn.functional.smooth_l1_loss(self.net(x.cuda()).view_as(y), y.cuda())
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
                if i % 100 == 0:
                    with evaluating(self.net), torch.no_grad():
                        x0, y0 = next(iter(val))
                        print('quick', (self.net(x0.cuda()).view_as(y0).cpu() - y0).abs().mean())
            print(e, self.score(val))


def main():
    from coco_kp import train_loader, val_loader
    k = Keypoints()
    k.fit(train_loader, val_loader, 20)
    torch.save(k.predict(next(iter(val_loader))[0]), 'kp.pt')


main()
