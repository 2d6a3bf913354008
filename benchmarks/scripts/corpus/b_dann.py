import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.autograd import Function

import params
from datasets import source_loader, target_loader, source_test_loader, target_test_loader


class GradReverse(Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.neg() * ctx.alpha, None


class Extractor(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(3, 64, 5), nn.BatchNorm2d(64), nn.MaxPool2d(2), nn.ReLU(True),
            nn.Conv2d(64, 50, 5), nn.BatchNorm2d(50), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU(True))

    def forward(self, x):
        return self.f(x.expand(x.shape[0], 3, 28, 28)).view(-1, 50 * 4 * 4)


class ClassClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Sequential(nn.Linear(800, 100), nn.BatchNorm1d(100), nn.ReLU(True), nn.Dropout(), nn.Linear(100, 10), nn.LogSoftmax(1))

    def forward(self, f):
        return self.c(f)


class DomainClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.bn1, self.fc2 = nn.Linear(800, 100), nn.BatchNorm1d(100), nn.Linear(100, 2)

    def forward(self, f, alpha):
        f = GradReverse.apply(f, alpha)
        return torch.log_softmax(self.fc2(torch.relu(self.bn1(self.fc1(f)))), 1)


def set_mode(nets, mode):
    for net in nets:
        getattr(net, mode)()


def train(mode_nets, optimizer, class_crit, domain_crit, epoch):
    extractor, classifier, discriminator = mode_nets
    set_mode(mode_nets, 'train')
    steps = min(len(source_loader), len(target_loader))
    for i, ((xs, ys), (xt, _)) in enumerate(zip(source_loader, target_loader)):
        p = float(i + epoch * steps) / params.epochs / steps
        alpha = 2. / (1. + np.exp(-10 * p)) - 1
        xs, ys, xt = xs.cuda(), ys.cuda(), xt.cuda()
        optimizer.zero_grad()
        fs, ft = extractor(xs), extractor(xt)
        class_loss = class_crit(classifier(fs), ys)
        dom = discriminator(torch.cat([fs, ft]), alpha)
        dom_y = torch.cat([torch.zeros(len(fs)), torch.ones(len(ft))]).long().cuda()
        loss = class_loss + params.theta * domain_crit(dom, dom_y)
        loss.backward()
        optimizer.step()


def test(nets):
    extractor, classifier, _ = nets
    set_mode(nets, 'eval')
    res = []
    for loader in (source_test_loader, target_test_loader):
        correct = 0
        for x, y in loader:
            with torch.no_grad():
                pred = classifier(extractor(x.cuda())).argmax(1).cpu()
            correct += (pred == y).sum().item()
        res.append(100. * correct / len(loader.dataset))
    print('Source Accuracy: %.2f%%  Target Accuracy: %.2f%%' % tuple(res))


def main():
    nets = [Extractor().cuda(), ClassClassifier().cuda(), DomainClassifier().cuda()]
    optimizer = optim.SGD([{'params': n.parameters()} for n in nets], lr=0.01, momentum=0.9)
    for epoch in range(params.epochs):
        train(nets, optimizer, nn.NLLLoss().cuda(), nn.NLLLoss().cuda(), epoch)
        test(nets)


if __name__ == '__main__':
    main()
