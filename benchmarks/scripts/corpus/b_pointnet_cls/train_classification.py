from __future__ import print_function
import argparse
import os

import torch
import torch.nn.functional as F
import torch.optim as optim
import torch.utils.data

from dataset import ShapeNetDataset
from pointnet import PointNetCls, feature_transform_regularizer

parser = argparse.ArgumentParser()
parser.add_argument('--batchSize', type=int, default=32)
parser.add_argument('--nepoch', type=int, default=250)
parser.add_argument('--outf', type=str, default='cls')
parser.add_argument('--dataset', type=str, required=True)
parser.add_argument('--feature_transform', action='store_true')
opt = parser.parse_args()
blue = lambda x: '\033[94m' + x + '\033[0m'

dataset = ShapeNetDataset(root=opt.dataset, classification=True)
test_dataset = ShapeNetDataset(root=opt.dataset, classification=True, split='test', data_augmentation=False)
dataloader = torch.utils.data.DataLoader(dataset, batch_size=opt.batchSize, shuffle=True, drop_last=True)
testdataloader = torch.utils.data.DataLoader(test_dataset, batch_size=opt.batchSize, shuffle=True)
num_classes = len(dataset.classes)
os.makedirs(opt.outf, exist_ok=True)

classifier = PointNetCls(k=num_classes)
optimizer = optim.Adam(classifier.parameters(), lr=0.001, betas=(0.9, 0.999))
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=20, gamma=0.5)
classifier.cuda()

for epoch in range(opt.nepoch):
    for i, data in enumerate(dataloader, 0):
        points, target = data
        points, target = points.transpose(2, 1).cuda(), target[:, 0].cuda()
        optimizer.zero_grad()
        classifier = classifier.train()
        pred, trans = classifier(points)
        loss = F.nll_loss(pred, target)
        if opt.feature_transform:
            loss += feature_transform_regularizer(trans) * 0.001
        loss.backward()
        optimizer.step()

        if i % 10 == 0:
            j, data = next(enumerate(testdataloader, 0))
            points, target = data
            points, target = points.transpose(2, 1).cuda(), target[:, 0].cuda()
            classifier = classifier.eval()
            pred, _ = classifier(points)
            loss = F.nll_loss(pred, target)
            correct = pred.data.max(1)[1].eq(target.data).cpu().sum()
            print('[%d: %d] %s loss: %f accuracy: %f' % (epoch, i, blue('test'), loss.item(), correct.item() / opt.batchSize))
    scheduler.step()
    torch.save(classifier.state_dict(), '%s/cls_model_%d.pth' % (opt.outf, epoch))
