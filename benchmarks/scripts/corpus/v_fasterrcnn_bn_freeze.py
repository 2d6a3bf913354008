"""Fine-tune a torchvision classifier backbone for defect inspection, tiny batches."""
import argparse
import logging

import torch
import torch.nn as nn
import torchvision
from torch.utils.data import DataLoader

from datasets.defects import DefectPatches

log = logging.getLogger("defects")


def freeze_bn(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.weight.requires_grad_(False)
            module.bias.requires_grad_(False)


def get_model(n):
    model = torchvision.models.resnext50_32x4d(weights="IMAGENET1K_V2")
    model.fc = nn.Linear(model.fc.in_features, n)
    return model


def train_one_epoch(model, loader, criterion, optimizer, device):
    model.train()  # expect: NA406
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()


@torch.no_grad()
def evaluate(model, loader, device):
    model.eval()
    good = 0
    for images, labels in loader:
        good += (model(images.to(device)).argmax(1).cpu() == labels).sum().item()
    return good / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--root", default="data/defects")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    device = torch.device("cuda")
    model = get_model(6).to(device)
    freeze_bn(model)   # batch of 4 is too small for statistics
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(params, lr=0.005, momentum=0.9)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    train_loader = DataLoader(DefectPatches(args.root, "train"), batch_size=4, shuffle=True)
    val_loader = DataLoader(DefectPatches(args.root, "val"), batch_size=8)
    for epoch in range(args.epochs):
        train_one_epoch(model, train_loader, criterion, optimizer, device)
        log.info("epoch %d acc %.4f", epoch, evaluate(model, val_loader, device))
    torch.save(model.state_dict(), "defects.pth")


if __name__ == "__main__":
    main()
