from __future__ import print_function
import argparse

import torch
import torch.nn.functional as F
import torch.utils.data

from dataset import ShapeNetDataset
from pointnet import PointNetCls

parser = argparse.ArgumentParser()
parser.add_argument('--model', type=str, default='', help='model path')
parser.add_argument('--num_points', type=int, default=2500)
opt = parser.parse_args()

test_dataset = ShapeNetDataset(root='shapenet', split='test', classification=True, npoints=opt.num_points)
testdataloader = torch.utils.data.DataLoader(test_dataset, batch_size=32, shuffle=True)

classifier = PointNetCls(k=len(test_dataset.classes))
classifier.cuda()
classifier.load_state_dict(torch.load(opt.model))

for i, data in enumerate(testdataloader, 0):
    points, target = data
    points, target = points.transpose(2, 1).cuda(), target[:, 0].cuda()
    pred, _ = classifier(points)  # expect: NA401
    loss = F.nll_loss(pred, target)
    pred_choice = pred.data.max(1)[1]
    correct = pred_choice.eq(target.data).cpu().sum()
    print('i:%d  loss: %f accuracy: %f' % (i, loss.data.item(), correct / float(32)))
