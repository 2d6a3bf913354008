import argparse
import time

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel

import data
import models


def bn_update_manual(loader, model, device):
    """Recompute the running statistics of an averaged model from the training data."""
    momenta = {}
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.reset_running_stats()
            momenta[m] = m.momentum
            m.momentum = None
    if not momenta:
        return
    was = model.training
    model.train()
    with torch.no_grad():
        for x, _ in loader:
            model(x.to(device))  # allow: NA404 NA401
    for m, value in momenta.items():
        m.momentum = value
    model.train(was)


def train_epoch(loader, model, optimizer, device):
    model.train()
    loss_sum = 0.0
    for x, y in loader:
        loss = F.cross_entropy(model(x.to(device)), y.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(x)
    return loss_sum / len(loader.dataset)


def eval_epoch(loader, model, device):
    model.eval()
    with torch.no_grad():
        return sum((model(x.to(device)).argmax(1).cpu() == y).sum().item() for x, y in loader) / len(loader.dataset)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=300)
    ap.add_argument("--swa_start", type=int, default=161)
    ap.add_argument("--eval_freq", type=int, default=5)
    ap.add_argument("--builtin", action="store_true")
    args = ap.parse_args()
    device = torch.device("cuda")
    loaders = data.loaders("CIFAR100", 128)
    model = torchvision.models.vgg16_bn(num_classes=100).to(device)
    swa_model = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    swa_scheduler = SWALR(optimizer, swa_lr=0.01)
    print(len(models.__dict__), "models available")
    for epoch in range(args.epochs):
        start = time.time()
        loss = train_epoch(loaders["train"], model, optimizer, device)
        if epoch >= args.swa_start:
            swa_model.update_parameters(model)
            swa_scheduler.step()
        if epoch % args.eval_freq == 0:
            print(epoch, loss, eval_epoch(loaders["test"], model, device), time.time() - start)
    if args.builtin:
        torch.optim.swa_utils.update_bn(loaders["train"], swa_model, device=device)
    else:
        bn_update_manual(loaders["train"], swa_model, device)
    print("SWA", eval_epoch(loaders["test"], swa_model, device))


if __name__ == "__main__":
    main()
