import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.models import mobilenet_v3_small, resnet34


def kd_loss(student_logits, teacher_logits, labels, T=4.0, alpha=0.9):
    soft = F.kl_div(F.log_softmax(student_logits / T, dim=1), F.softmax(teacher_logits / T, dim=1), reduction="batchmean")
    return alpha * T * T * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


def get_loader(train, bs):
    t = transforms.Compose([transforms.Resize(160), transforms.ToTensor()])
    return DataLoader(datasets.CIFAR100("data", train=train, transform=t, download=True), batch_size=bs, shuffle=train, num_workers=8)


def train_one_epoch(student, teacher, loader, optimizer, device):
    student.train()
    running = 0.0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        with torch.no_grad():
            t_out = teacher(x)  # expect: NA404
        s_out = student(x)
        loss = kd_loss(s_out, t_out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item()
    return running / len(loader)


@torch.inference_mode()
def validate(model, loader, device):
    model.eval()
    correct, total = 0, 0
    for x, y in loader:
        correct += (model(x.to(device)).argmax(1).cpu() == y).sum().item()
        total += len(y)
    return correct / total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--lr", type=float, default=0.05)
    args = parser.parse_args()
    device = torch.device("cuda")

    teacher = resnet34(num_classes=100)
    teacher.load_state_dict(torch.load(args.teacher))
    teacher = teacher.to(device)
    for p in teacher.parameters():
        p.requires_grad = False

    student = mobilenet_v3_small(num_classes=100).to(device)
    optimizer = torch.optim.SGD(student.parameters(), lr=args.lr, momentum=0.9)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    trainl, vall = get_loader(True, 128), get_loader(False, 256)
    for epoch in range(args.epochs):
        l = train_one_epoch(student, teacher, trainl, optimizer, device)
        acc = validate(student, vall, device)
        sched.step()
        print(f"{epoch:3d} loss {l:.4f} acc {acc:.2%}")


if __name__ == "__main__":
    main()
