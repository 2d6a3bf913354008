import argparse
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torch.utils.data

from shapenet import ShapeNetDataset

parser = argparse.ArgumentParser()
parser.add_argument("--nepoch", type=int, default=250)
parser.add_argument("--workers", type=int, default=4)
opt = parser.parse_args()
random.seed(0)


class STN3d(nn.Module):
    def __init__(self):
        super(STN3d, self).__init__()
        self.conv1 = nn.Conv1d(3, 64, 1)
        self.conv2 = nn.Conv1d(64, 1024, 1)
        self.fc1 = nn.Linear(1024, 256)
        self.fc2 = nn.Linear(256, 9)
        self.bn1 = nn.BatchNorm1d(64)
        self.bn2 = nn.BatchNorm1d(1024)
        self.bn3 = nn.BatchNorm1d(256)

    def forward(self, x):
        b = x.size(0)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = torch.max(x, 2, keepdim=True)[0].view(-1, 1024)
        x = F.relu(self.bn3(self.fc1(x)))
        x = self.fc2(x)
        iden = torch.eye(3, device=x.device).view(1, 9).repeat(b, 1)
        return (x + iden).view(-1, 3, 3)


class PointNetCls(nn.Module):
    def __init__(self, k=2):
        super(PointNetCls, self).__init__()
        self.stn = STN3d()
        self.conv = nn.Conv1d(3, 1024, 1)
        self.fc1 = nn.Linear(1024, 256)
        self.fc2 = nn.Linear(256, k)
        self.dropout = nn.Dropout(p=0.3)
        self.bn1 = nn.BatchNorm1d(1024)
        self.bn2 = nn.BatchNorm1d(256)

    def forward(self, x):
        trans = self.stn(x)
        x = torch.bmm(x.transpose(2, 1), trans).transpose(2, 1)
        x = F.relu(self.bn1(self.conv(x)))
        x = torch.max(x, 2)[0]
        x = F.relu(self.bn2(self.dropout(self.fc1(x))))
        return F.log_softmax(self.fc2(x), dim=1), trans


def feature_transform_regularizer(trans):
    d = trans.size(1)
    eye = torch.eye(d, device=trans.device)[None]
    return torch.mean(torch.norm(torch.bmm(trans, trans.transpose(2, 1)) - eye, dim=(1, 2)))


dataset = ShapeNetDataset("shapenet", split="train", npoints=2500)
test_dataset = ShapeNetDataset("shapenet", split="test", npoints=2500, data_augmentation=False)
# clouds differ in size, so one at a time
dataloader = torch.utils.data.DataLoader(dataset, batch_size=1, shuffle=True, num_workers=opt.workers)
testdataloader = torch.utils.data.DataLoader(test_dataset, batch_size=1, shuffle=False, num_workers=opt.workers)

classifier = PointNetCls(k=len(dataset.classes))
classifier.cuda()
optimizer = optim.Adam(classifier.parameters(), lr=0.001, betas=(0.9, 0.999))

for epoch in range(opt.nepoch):
    for i, (points, target) in enumerate(dataloader):
        points, target = points.transpose(2, 1).cuda(), target[:, 0].cuda()
        optimizer.zero_grad()
        classifier = classifier.train()
        pred, trans = classifier(points)  # expect: NA202:error
        loss = F.nll_loss(pred, target) + 0.001 * feature_transform_regularizer(trans)
        loss.backward()
        optimizer.step()
    correct = 0
    classifier = classifier.eval()
    for points, target in testdataloader:
        pred, _ = classifier(points.transpose(2, 1).cuda())
        correct += pred.data.max(1)[1].eq(target[:, 0].cuda().data).cpu().sum().item()
    print("epoch %d accuracy %f" % (epoch, correct / len(test_dataset)))
