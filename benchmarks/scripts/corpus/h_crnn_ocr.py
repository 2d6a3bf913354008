from __future__ import print_function
import argparse
import random

import numpy as np
import torch
import torch.backends.cudnn as cudnn
import torch.nn as nn
import torch.optim as optim
import torch.utils.data
from torch.autograd import Variable

import dataset
import utils
import models.crnn as crnn

parser = argparse.ArgumentParser()
parser.add_argument('--trainRoot', required=True)
parser.add_argument('--valRoot', required=True)
parser.add_argument('--batchSize', type=int, default=64)
parser.add_argument('--nepoch', type=int, default=25)
parser.add_argument('--displayInterval', type=int, default=500)
parser.add_argument('--valInterval', type=int, default=500)
parser.add_argument('--alphabet', type=str, default='0123456789abcdefghijklmnopqrstuvwxyz')
opt = parser.parse_args()
cudnn.benchmark = True
random.seed(1234); np.random.seed(1234); torch.manual_seed(1234)

train_dataset = dataset.lmdbDataset(root=opt.trainRoot)
train_loader = torch.utils.data.DataLoader(train_dataset, batch_size=opt.batchSize, shuffle=True, collate_fn=dataset.alignCollate(32, 100))
test_dataset = dataset.lmdbDataset(root=opt.valRoot, transform=dataset.resizeNormalize((100, 32)))
converter = utils.strLabelConverter(opt.alphabet)
criterion = nn.CTCLoss(zero_infinity=True)


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find('Conv') != -1:
        m.weight.data.normal_(0.0, 0.02)
    elif classname.find('BatchNorm') != -1:
        m.weight.data.normal_(1.0, 0.02)
        m.bias.data.fill_(0)


net = crnn.CRNN(32, 1, len(opt.alphabet) + 1, 256)
net.apply(weights_init)
net = torch.nn.DataParallel(net.cuda())
optimizer = optim.RMSprop(net.parameters(), lr=0.01)
loss_avg = utils.averager()


def val(net, dataset, criterion, max_iter=100):
    print('Start val')
    for p in net.parameters():
        p.requires_grad = False
    net.eval()
    loader = torch.utils.data.DataLoader(dataset, shuffle=True, batch_size=opt.batchSize)
    n_correct = 0
    for i, (cpu_images, cpu_texts) in enumerate(loader):
        if i >= max_iter:
            break
        preds = net(cpu_images.cuda())
        preds_size = Variable(torch.IntTensor([preds.size(0)] * cpu_images.size(0)))
        _, preds = preds.max(2)
        sim = converter.decode(preds.transpose(1, 0).contiguous().view(-1).data, preds_size.data, raw=False)
        n_correct += sum(p == t.lower() for p, t in zip(sim, cpu_texts))
    print('accuracy: %f' % (n_correct / float(max_iter * opt.batchSize)))


def trainBatch(net, criterion, optimizer, data):
    cpu_images, cpu_texts = data
    text, length = converter.encode(cpu_texts)
    preds = net(cpu_images.cuda())
    size = torch.IntTensor([preds.size(0)] * cpu_images.size(0))
    cost = criterion(preds.log_softmax(2), text, size, length)
    net.zero_grad()
    cost.backward()
    optimizer.step()
    return cost


for epoch in range(opt.nepoch):
    for i, data in enumerate(train_loader):
        for p in net.parameters():
            p.requires_grad = True
        net.train()
        loss_avg.add(trainBatch(net, criterion, optimizer, data))
        if i % opt.displayInterval == 0:
            print('[%d/%d][%d/%d] Loss: %f' % (epoch, opt.nepoch, i, len(train_loader), loss_avg.val()))
            loss_avg.reset()
        if i % opt.valInterval == 0:
            val(net, test_dataset, criterion)
