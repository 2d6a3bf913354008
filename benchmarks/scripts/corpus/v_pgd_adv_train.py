import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from torchvision import transforms

from models.wideresnet import WideResNet

device = torch.device("cuda")


def trades_loss(model, x_natural, y, optimizer, step_size=0.007, epsilon=0.031, perturb_steps=10, beta=6.0):
    criterion_kl = nn.KLDivLoss(reduction="sum")
    model.eval()
    n = len(x_natural)
    x_adv = x_natural.detach() + 0.001 * torch.randn_like(x_natural)
    for _ in range(perturb_steps):
        x_adv.requires_grad_()
        with torch.enable_grad():
            loss_kl = criterion_kl(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x_natural), dim=1))
        grad = torch.autograd.grad(loss_kl, [x_adv])[0]
        x_adv = x_adv.detach() + step_size * torch.sign(grad.detach())
        x_adv = torch.min(torch.max(x_adv, x_natural - epsilon), x_natural + epsilon).clamp(0.0, 1.0)
    model.train()
    optimizer.zero_grad()
    logits = model(x_natural)
    loss_robust = criterion_kl(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x_natural), dim=1)) / n
    return F.cross_entropy(logits, y) + beta * loss_robust


def eval_test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in loader:
            pred = model(data.to(device)).max(1)[1].cpu()
            correct += pred.eq(target).sum().item()
    return correct / len(loader.dataset)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=76)
    args = p.parse_args()
    tr = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
    train_loader = torch.utils.data.DataLoader(torchvision.datasets.CIFAR10("../data", True, tr, download=True), batch_size=128, shuffle=True)
    test_loader = torch.utils.data.DataLoader(torchvision.datasets.CIFAR10("../data", False, transforms.ToTensor()), batch_size=128)
    model = WideResNet().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(1, args.epochs + 1):
        for data, target in train_loader:
            data, target = data.to(device), target.to(device)
            optimizer.zero_grad()
            loss = trades_loss(model, data, target, optimizer)
            loss.backward()
            optimizer.step()
        print(epoch, eval_test(model, train_loader), eval_test(model, test_loader))
        torch.save(model.state_dict(), "model-wideres-epoch{}.pt".format(epoch))


if __name__ == "__main__":
    main()
