"""Transfer a pretrained EfficientNetV2 to flowers; mixup and two losses, log_softmax kept from an older version."""
import os
import random

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms


def seed_everything(seed=1234):
    random.seed(seed)
    os.environ['PYTHONHASHSEED'] = str(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def mixup(x, y, alpha=0.2):
    lam = np.random.beta(alpha, alpha)
    idx = torch.randperm(x.size(0), device=x.device)
    return lam * x + (1 - lam) * x[idx], y, y[idx], lam


class FlowerNet(nn.Module):
    def __init__(self, n=102):
        super().__init__()
        self.backbone = models.efficientnet_v2_s(weights='DEFAULT')
        self.backbone.classifier = nn.Identity()
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(1280, n)

    def forward(self, x):
        return nn.functional.log_softmax(self.fc(self.drop(self.backbone(x))), dim=-1)


class Engine:
    def __init__(self, model, optimizer, device):
        self.model, self.optimizer, self.device = model, optimizer, device
        self.loss_fn = nn.CrossEntropyLoss()

    def train(self, data_loader):
        self.model.train()
        final = 0
        for x, y in data_loader:
            x, ya, yb, lam = mixup(x.to(self.device), y.to(self.device))
            self.optimizer.zero_grad()
            out = self.model(x)
            loss = lam * self.loss_fn(out, ya) + (1 - lam) * self.loss_fn(out, yb)  # expect: NA501:info
            loss.backward()
            self.optimizer.step()
            final += loss.item()
        return final / len(data_loader)

    def evaluate(self, data_loader):
        self.model.train(True)
        right = 0
        with torch.no_grad():
            for x, y in data_loader:
                right += (self.model(x.to(self.device)).argmax(-1).cpu() == y).sum().item()  # expect: NA401
        return right / len(data_loader.dataset)


def run():
    seed_everything()
    aug = transforms.Compose([transforms.RandomResizedCrop(300), transforms.RandomHorizontalFlip(), transforms.ToTensor()])
    plain = transforms.Compose([transforms.Resize((300, 300)), transforms.ToTensor()])
    train = DataLoader(datasets.Flowers102('data', 'train', transform=aug, download=True), 32, shuffle=True)
    valid = DataLoader(datasets.Flowers102('data', 'val', transform=plain), 64)
    model = FlowerNet().to('cuda')
    eng = Engine(model, torch.optim.Adam(model.parameters(), lr=1e-4), 'cuda')
    best, patience = 0., 5
    for epoch in range(50):
        loss, acc = eng.train(train), eng.evaluate(valid)
        print(f'{epoch} {loss:.4f} {acc:.4f}')
        if acc > best:
            best, patience = acc, 5
            torch.save(model.state_dict(), 'flowers.bin')
        else:
            patience -= 1
        if not patience:
            break


if __name__ == '__main__':
    run()
