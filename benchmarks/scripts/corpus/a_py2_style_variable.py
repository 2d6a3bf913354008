# -*- coding: utf-8 -*-
from __future__ import print_function

import os
import sys
import time

import torch
import torch.nn as nn
import torch.optim as optim
from torch.autograd import Variable
from torchvision import datasets, transforms

from visdom import Visdom

viz = Visdom()
BATCH = 64
use_cuda = torch.cuda.is_available()


class VGGLike(nn.Module):
    cfg = [64, 'M', 128, 'M', 256, 256, 'M']

    def __init__(self):
        super(VGGLike, self).__init__()
        self.features = self._make_layers(self.cfg)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(256 * 4 * 4, 512), nn.ReLU(True), nn.Dropout(), nn.Linear(512, 100))

    def forward(self, x):
        out = self.features(x)
        out = out.view(out.size(0), -1)
        return self.classifier(out)

    def _make_layers(self, cfg):
        layers = []
        in_channels = 3
        for x in cfg:
            if x == 'M':
                layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
            else:
                layers += [nn.Conv2d(in_channels, x, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
                in_channels = x
        return nn.Sequential(*layers)


train_set = datasets.CIFAR100('data', True, transforms.ToTensor(), download=True)
test_set = datasets.CIFAR100('data', False, transforms.ToTensor())
train_loader = torch.utils.data.DataLoader(train_set, BATCH, True)
test_loader = torch.utils.data.DataLoader(test_set, BATCH, False)

model = VGGLike()
if use_cuda:
    model.cuda()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

for epoch in range(100):
    t0 = time.time()
    for i, (data, target) in enumerate(train_loader):
        if use_cuda:
            data, target = data.cuda(), target.cuda()
        data, target = Variable(data), Variable(target)
        optimizer.zero_grad()
        output = model(data)
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()
        if i % 50 == 0:
            sys.stdout.write('\r[%d/%d] %.4f' % (epoch, i, loss.item()))
    correct, total = 0, 0
    for data, target in test_loader:
        if use_cuda:
            data, target = data.cuda(), target.cuda()
        output = model(Variable(data, volatile=True))  # expect: NA401
        pred = torch.max(output.data, 1)[1]
        correct += (pred == target).sum().item()
        total += len(target)
    acc = 100.0 * correct / total
    print('epoch', epoch, 'acc', acc, 'time', time.time() - t0)
    viz.line(Y=torch.Tensor([acc]), X=torch.Tensor([epoch]), win='acc', update='append' if epoch else None)
    if not os.path.exists('ckpt'):
        os.makedirs('ckpt')
    torch.save(model, os.path.join('ckpt', '%d.t7' % epoch))
