from __future__ import print_function

import argparse
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision.models import resnet18


class SupConResNet(nn.Module):
    def __init__(self, feat_dim=128):
        super(SupConResNet, self).__init__()
        self.encoder = resnet18()
        self.encoder.fc = nn.Identity()
        self.head = nn.Sequential(nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, feat_dim))

    def forward(self, x):
        return F.normalize(self.head(self.encoder(x)), dim=1)


class LinearClassifier(nn.Module):
    def __init__(self, num_classes=10):
        super(LinearClassifier, self).__init__()
        self.fc = nn.Linear(512, num_classes)

    def forward(self, features):
        return self.fc(features)


class AverageMeter(object):
    def __init__(self):
        self.sum = self.count = self.avg = 0

    def update(self, val, n=1):
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count


def set_model(opt):
    model, classifier, criterion = SupConResNet(), LinearClassifier(opt.n_cls), nn.CrossEntropyLoss()
    ckpt = torch.load(opt.ckpt, map_location='cpu')
    if torch.cuda.is_available():
        if torch.cuda.device_count() > 1:
            model.encoder = nn.DataParallel(model.encoder)
        model, classifier, criterion = model.cuda(), classifier.cuda(), criterion.cuda()
        model.load_state_dict(ckpt['model'])
    else:
        raise NotImplementedError('GPU only')
    return model, classifier, criterion


def train(loader, model, classifier, criterion, optimizer, epoch, opt):
    """one epoch training"""
    model.eval()
    classifier.train()
    losses = AverageMeter()
    for idx, (images, labels) in enumerate(loader):
        images, labels = images.cuda(non_blocking=True), labels.cuda(non_blocking=True)
        with torch.no_grad():
            features = model.encoder(images)
        output = classifier(features.detach())
        loss = criterion(output, labels)
        losses.update(loss.item(), labels.shape[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses.avg


def validate(loader, model, classifier):
    model.eval()
    classifier.eval()
    top1 = AverageMeter()
    with torch.no_grad():
        for images, labels in loader:
            output = classifier(model.encoder(images.float().cuda()))
            top1.update((output.argmax(1).cpu() == labels).float().mean().item(), labels.shape[0])
    return top1.avg


def main():
    parser = argparse.ArgumentParser('argument for training')
    parser.add_argument('--ckpt', type=str, default='')
    parser.add_argument('--n_cls', type=int, default=10)
    parser.add_argument('--epochs', type=int, default=100)
    opt = parser.parse_args()
    from data import set_loader
    train_loader, val_loader = set_loader(opt)
    model, classifier, criterion = set_model(opt)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=.1, momentum=.9, weight_decay=0)
    for epoch in range(1, opt.epochs + 1):
        t = time.time()
        loss = train(train_loader, model, classifier, criterion, optimizer, epoch, opt)
        print('epoch {}, time {:.2f}, loss {:.3f}, val {:.2f}'.format(epoch, time.time() - t, loss, validate(val_loader, model, classifier)))
        sys.stdout.flush()


if __name__ == '__main__':
    main()
