#!/usr/bin/env python
import argparse
import time

import torch
import torch.nn as nn
import torchvision.models as models

parser = argparse.ArgumentParser(description='linear classification on frozen features')
parser.add_argument('data')
parser.add_argument('--pretrained', required=True)
parser.add_argument('--lr', default=30., type=float)
parser.add_argument('--wd', default=0., type=float)
parser.add_argument('--epochs', default=100, type=int)


def main():
    args = parser.parse_args()
    model = models.resnet50()
    for name, param in model.named_parameters():
        if name not in ['fc.weight', 'fc.bias']:
            param.requires_grad = False
    model.fc.weight.data.normal_(mean=0.0, std=0.01)
    model.fc.bias.data.zero_()
    state_dict = torch.load(args.pretrained, map_location="cpu")['state_dict']
    for k in list(state_dict.keys()):
        if k.startswith('module.encoder_q') and not k.startswith('module.encoder_q.fc'):
            state_dict[k[len("module.encoder_q."):]] = state_dict[k]
        del state_dict[k]
    msg = model.load_state_dict(state_dict, strict=False)
    assert set(msg.missing_keys) == {"fc.weight", "fc.bias"}
    model = nn.DataParallel(model).cuda()
    parameters = list(filter(lambda p: p.requires_grad, model.parameters()))
    assert len(parameters) == 2
    optimizer = torch.optim.SGD(parameters, args.lr, momentum=.9, weight_decay=args.wd)
    criterion = nn.CrossEntropyLoss().cuda()
    from imagenet import loaders
    train_loader, val_loader = loaders(args.data)
    best = 0
    for epoch in range(args.epochs):
        train(train_loader, model, criterion, optimizer, epoch)
        best = max(best, validate(val_loader, model))
    print('best', best)


def train(train_loader, model, criterion, optimizer, epoch):
    # The protocol: batch norm must not change during linear classification, so running statistics stay those of pre-training.
    model.eval()
    end = time.time()
    for i, (images, target) in enumerate(train_loader):
        images, target = images.cuda(non_blocking=True), target.cuda(non_blocking=True)
        output = model(images)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 10 == 0:
            print(epoch, i, loss.item(), time.time() - end)
            end = time.time()


def validate(val_loader, model):
    model.eval()
    hits = n = 0
    with torch.no_grad():
        for images, target in val_loader:
            hits += (model(images.cuda()).argmax(1).cpu() == target).sum().item()
            n += len(target)
    return hits / n


if __name__ == '__main__':
    main()
