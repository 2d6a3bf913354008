import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision.models import wide_resnet50_2


def pgd_attack(model, x, y, eps=8 / 255, alpha=2 / 255, steps=10):
    """Untargeted L-inf PGD; attacks the network in eval mode and puts it back."""
    was_training = model.training
    model.eval()
    delta = torch.empty_like(x).uniform_(-eps, eps).requires_grad_()
    for _ in range(steps):
        loss = F.cross_entropy(model(x + delta), y)
        grad = torch.autograd.grad(loss, delta)[0]
        delta.data = (delta + alpha * grad.sign()).clamp(-eps, eps)
        delta.data = (x + delta).clamp(0, 1) - x
    model.train(was_training)
    return (x + delta).detach()


def perturb_inputs(model, x, y, lr=.01, n=50):
    """Carlini-style: optimizes the input with Adam, weights stay as they are."""
    model.eval()
    w = x.clone().requires_grad_(True)
    opt = torch.optim.Adam([w], lr=lr)
    for _ in range(n):
        loss = -F.cross_entropy(model(w), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return w.detach()


def train(model, loader, optimizer, epoch):
    for i, (x, y) in enumerate(loader):
        x, y = x.cuda(), y.cuda()
        x_adv = pgd_attack(model, x, y)
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x_adv), y)
        loss.backward()
        optimizer.step()
        if not i % 50:
            print(f"[{epoch}:{i}] {loss.item():.3f}")


def test(model, loader):
    model.eval()
    clean = robust = n = 0
    for x, y in loader:
        x, y = x.cuda(), y.cuda()
        x_adv = pgd_attack(model, x, y, steps=20)
        with torch.no_grad():
            clean += (model(x).argmax(1) == y).sum().item()
            robust += (model(x_adv).argmax(1) == y).sum().item()
        n += len(y)
    return clean / n, robust / n


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()
    from data import train_loader, test_loader
    net = nn.DataParallel(wide_resnet50_2(num_classes=10)).cuda()
    opt = torch.optim.SGD(net.parameters(), lr=.1, momentum=.9)
    for e in range(args.epochs):
        train(net, train_loader, opt, e)
        print(test(net, test_loader))
    x, y = next(iter(test_loader))
    torch.save(perturb_inputs(net, x.cuda(), y.cuda()), "cw.pt")
