import argparse
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.segmentation import fcn_resnet50

from potsdam import PotsdamTiles


class FrozenStatsFCN(nn.Module):
    def __init__(self, n_classes: int, freeze_stats: bool = True) -> None:
        super().__init__()
        self.net = fcn_resnet50(weights="DEFAULT")
        self.net.classifier[-1] = nn.Conv2d(512, n_classes, 1)
        self.freeze_stats = freeze_stats

    def train(self, mode: bool = True):
        super().train(mode)
        if mode and self.freeze_stats:
            for m in self.modules():
                if isinstance(m, _BatchNorm):
                    m.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)["out"]

    def groups(self, lr: float) -> Iterator[dict]:
        yield {"params": self.net.backbone.parameters(), "lr": lr * 0.1}
        yield {"params": self.net.classifier.parameters(), "lr": lr}


def miou(model: nn.Module, loader, n: int, dev) -> float:
    cm = torch.zeros(n, n)
    model.eval()
    with torch.inference_mode():
        for x, y in loader:
            p = model(x.to(dev)).argmax(1).cpu()
            cm += torch.bincount((y * n + p).flatten(), minlength=n * n).view(n, n)
    return (cm.diag() / (cm.sum(0) + cm.sum(1) - cm.diag())).mean().item()


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("root")
    ap.add_argument("--epochs", type=int, default=40)
    ap.add_argument("--lr", type=float, default=1e-2)
    ns = ap.parse_args()
    dev = torch.device("cuda")
    model = FrozenStatsFCN(6).to(dev)
    opt = torch.optim.SGD(model.groups(ns.lr), lr=ns.lr, momentum=0.9)
    train = torch.utils.data.DataLoader(PotsdamTiles(ns.root, "train"), batch_size=2, shuffle=True)
    val = torch.utils.data.DataLoader(PotsdamTiles(ns.root, "val"), batch_size=2)
    for epoch in range(ns.epochs):
        model.train()
        for x, y in train:
            loss = nn.functional.cross_entropy(model(x.to(dev)), y.to(dev))
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, miou(model, val, 6, dev))


if __name__ == "__main__":
    main()
