import argparse
import os

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
import torchvision.transforms as T
from torch.utils.data import DataLoader
from torchvision.models import mobilenet_v2, resnet50


def kd_loss(student_logits, teacher_logits, labels, alpha, temperature):
    soft = F.kl_div(F.log_softmax(student_logits / temperature, dim=1),
                    F.softmax(teacher_logits / temperature, dim=1), reduction="batchmean") * temperature ** 2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


def loaders(root, bs):
    norm = T.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    tr = T.Compose([T.RandomCrop(32, 4), T.RandomHorizontalFlip(), T.ToTensor(), norm])
    te = T.Compose([T.ToTensor(), norm])
    return (DataLoader(torchvision.datasets.CIFAR100(root, True, tr, download=True), bs, shuffle=True, num_workers=4),
            DataLoader(torchvision.datasets.CIFAR100(root, False, te), 512, num_workers=4))


def load_teacher(path):
    teacher = resnet50(num_classes=100)
    teacher.load_state_dict(torch.load(path, map_location="cpu")["net"])
    for p in teacher.parameters():
        p.requires_grad = False
    return teacher


def train_epoch(student, teacher, loader, optimizer, args):
    student.train()
    for x, y in loader:
        x, y = x.cuda(), y.cuda()
        with torch.no_grad():
            t_logits = teacher(x)  # expect: NA404
        loss = kd_loss(student(x), t_logits, y, args.alpha, args.T)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test(net, loader):
    net.eval()
    hit = 0
    with torch.no_grad():
        for x, y in loader:
            hit += net(x.cuda()).argmax(1).eq(y.cuda()).sum().item()
    return 100.0 * hit / len(loader.dataset)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--teacher", default="ckpt/resnet50.pth")
    ap.add_argument("--alpha", type=float, default=0.9)
    ap.add_argument("--T", type=float, default=4.0)
    ap.add_argument("--epochs", type=int, default=200)
    args = ap.parse_args()
    assert os.path.isfile(args.teacher), "train the teacher first"
    train_loader, test_loader = loaders("./data", 128)
    teacher = load_teacher(args.teacher).cuda()
    student = mobilenet_v2(num_classes=100).cuda()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    for epoch in range(args.epochs):
        train_epoch(student, teacher, train_loader, optimizer, args)
        scheduler.step()
        print(epoch, test(student, test_loader))
