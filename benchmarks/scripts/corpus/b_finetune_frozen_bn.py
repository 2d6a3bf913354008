# fine-tune a detector backbone on crops; batch norm must keep the ImageNet statistics
import argparse
import logging
import time

import torch
import torch.nn as nn
from torch.utils.data import DataLoader
from torchvision import models

from crops import CropDataset, train_tf, val_tf

logging.basicConfig(format='%(asctime)s %(message)s', level=logging.INFO)


def freeze_bn(m):
    if isinstance(m, nn.BatchNorm2d):
        m.eval()
        m.weight.requires_grad = False
        m.bias.requires_grad = False


class AverageMeter(object):
    def __init__(self):
        self.sum = self.count = 0.

    def update(self, v, n=1):
        self.sum += v * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(self.count, 1)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('root')
    ap.add_argument('--epochs', type=int, default=12)
    ap.add_argument('--bs', type=int, default=16)
    args = ap.parse_args()

    model = models.resnet101(weights='IMAGENET1K_V2')
    model.fc = nn.Linear(2048, 20)
    model.cuda()
    model.apply(freeze_bn)

    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(params, lr=1e-3, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    train_dl = DataLoader(CropDataset(args.root, 'train', train_tf), args.bs, shuffle=True, num_workers=8)
    val_dl = DataLoader(CropDataset(args.root, 'val', val_tf), args.bs, num_workers=8)

    for epoch in range(args.epochs):
        model.train()  # expect: NA406
        losses, t0 = AverageMeter(), time.time()
        for x, y in train_dl:
            x, y = x.cuda(), y.cuda()
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), x.size(0))

        model.eval()
        correct = AverageMeter()
        with torch.no_grad():
            for x, y in val_dl:
                correct.update((model(x.cuda()).argmax(1).cpu() == y).float().mean().item(), x.size(0))
        logging.info('epoch %d loss %.4f acc %.4f (%.1fs)', epoch, losses.avg, correct.avg, time.time() - t0)
        torch.save(model.state_dict(), 'crops_%02d.pth' % epoch)


if __name__ == '__main__':
    main()
