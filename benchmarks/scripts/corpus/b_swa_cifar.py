"""SWA on CIFAR-100 with torch.optim.swa_utils."""
import argparse

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torchvision import datasets, models, transforms


def bn_update(loader, model):
    """Older by-hand version of update_bn, kept for models whose batches are dictionaries."""
    momenta = {}
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean = torch.zeros_like(module.running_mean)
            module.running_var = torch.ones_like(module.running_var)
            momenta[module] = module.momentum
    was_training = model.training
    model.train()
    n = 0
    with torch.no_grad():
        for batch in loader:
            x = batch["image"].cuda()
            b = x.size(0)
            for module in momenta:
                module.momentum = b / float(n + b)
            model(x)  # allow: NA401 NA404
            n += b
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


def train_epoch(loader, model, optimizer):
    model.train()
    for x, y in loader:
        loss = F.cross_entropy(model(x.cuda()), y.cuda())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def evaluate(loader, model):
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x.cuda()).argmax(1).cpu() == y).sum().item()
    return correct / len(loader.dataset)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=200)
    p.add_argument("--swa_start", type=int, default=160)
    p.add_argument("--batch_size", type=int, default=128)
    p.add_argument("--dict_batches", action="store_true")
    args = p.parse_args()
    tf = transforms.ToTensor()
    train_loader = torch.utils.data.DataLoader(datasets.CIFAR100("data", transform=tf), args.batch_size, shuffle=True)
    test_loader = torch.utils.data.DataLoader(datasets.CIFAR100("data", train=False, transform=tf), args.batch_size)

    model = models.resnet18(num_classes=100).cuda()
    swa_model = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.swa_start)
    swa_scheduler = SWALR(optimizer, swa_lr=0.05)

    for epoch in range(args.epochs):
        train_epoch(train_loader, model, optimizer)
        if epoch > args.swa_start:
            swa_model.update_parameters(model)
            swa_scheduler.step()
        else:
            scheduler.step()
        if epoch % 10 == 0:
            print(epoch, evaluate(test_loader, model))

    if args.dict_batches:
        bn_update(train_loader, swa_model)
    else:
        update_bn(train_loader, swa_model, device=torch.device("cuda"))
    print("SWA accuracy", evaluate(test_loader, swa_model))


if __name__ == "__main__":
    main()
