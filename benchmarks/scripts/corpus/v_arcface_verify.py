import argparse
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from backbones import iresnet50
from faces import LFWPairs, WebFace


class ArcMarginProduct(nn.Module):
    def __init__(self, in_features, out_features, s=30.0, m=0.5):
        super().__init__()
        self.s, self.m = s, m
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, label):
        cosine = F.linear(F.normalize(x), F.normalize(self.weight)).clamp(-1 + 1e-7, 1 - 1e-7)
        phi = cosine * math.cos(self.m) - (1 - cosine ** 2).sqrt() * math.sin(self.m)
        one_hot = F.one_hot(label, cosine.size(1)).to(cosine.dtype)
        return self.s * (one_hot * phi + (1 - one_hot) * cosine)


def lfw_test(model, loader, device):
    sims, same = [], []
    with torch.no_grad():
        for a, b, y in loader:
            fa, fb = model(a.to(device)), model(b.to(device))  # expect: NA401
            sims.append(F.cosine_similarity(fa, fb).cpu())
            same.append(y)
    sims, same = torch.cat(sims), torch.cat(same).bool()
    return max(((sims >= t) == same).float().mean().item() for t in sims)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=24)
    ap.add_argument("--classes", type=int, default=10572)
    args = ap.parse_args()
    device = torch.device("cuda")
    model = nn.DataParallel(iresnet50(dropout=0.4)).to(device)
    metric_fc = nn.DataParallel(ArcMarginProduct(512, args.classes)).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD([{"params": model.parameters()}, {"params": metric_fc.parameters()}], lr=0.1, momentum=0.9)
    train_loader = DataLoader(WebFace("casia"), 256, shuffle=True, drop_last=True)
    pairs = DataLoader(LFWPairs("lfw"), 128)
    for epoch in range(args.epochs):
        model.train()
        for images, labels in train_loader:
            images, labels = images.to(device), labels.to(device)
            loss = criterion(metric_fc(model(images), labels), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        metric_fc.eval()
        print(epoch, loss.item(), lfw_test(model, pairs, device))
        metric_fc.train()
        torch.save(model.module.state_dict(), f"arcface_{epoch}.pth")


if __name__ == "__main__":
    main()
