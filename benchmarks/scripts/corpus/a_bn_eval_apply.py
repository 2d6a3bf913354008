"""Re-identification: ResNet-50 with batch norms kept in eval, two ways of doing it."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision.models import resnet50


def set_bn_eval(m):
    classname = m.__class__.__name__
    if classname.find('BatchNorm') != -1:
        m.eval()


class ReID(nn.Module):
    def __init__(self, ids):
        super().__init__()
        net = resnet50(weights='IMAGENET1K_V2')
        net.layer4[0].conv2.stride = (1, 1)
        net.layer4[0].downsample[0].stride = (1, 1)
        self.base = nn.Sequential(*list(net.children())[:-2])
        self.classifier = nn.Linear(2048, ids)

    def forward(self, x):
        f = F.adaptive_avg_pool2d(self.base(x), 1).flatten(1)
        if not self.training:
            return F.normalize(f)
        return self.classifier(f)


def train_right(model, loader, opt, epochs):
    for epoch in range(epochs):
        model.train()
        model.apply(set_bn_eval)
        for img, pid in loader:
            loss = F.cross_entropy(model(img.cuda()), pid.cuda())
            opt.zero_grad()
            loss.backward()
            opt.step()


def train_wrong(model, loader, query, opt, epochs):
    model.apply(set_bn_eval)
    for epoch in range(epochs):
        model.train()  # expect: NA406
        for img, pid in loader:
            loss = F.cross_entropy(model(img.cuda()), pid.cuda())
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 10 == 0:
            print(epoch, rank1(model, query))


def rank1(model, query):
    model.eval()
    with torch.no_grad():
        f, ids = zip(*[(model(x.cuda()), y) for x, y in query])
    f, ids = torch.cat(f), torch.cat(ids)
    d = f @ f.T - 2 * torch.eye(len(f), device=f.device)
    return (ids[d.argmax(1).cpu()] == ids).float().mean().item()


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--keep', action='store_true')
    a = p.parse_args()
    from market import loader, query
    net = ReID(751).cuda()
    optimizer = torch.optim.SGD(net.parameters(), lr=.01, momentum=.9)
    if a.keep:
        train_right(net, loader, optimizer, 60)
    else:
        train_wrong(net, loader, query, optimizer, 60)
    print(rank1(net, query))
