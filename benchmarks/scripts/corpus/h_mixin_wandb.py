"""Crop yield regression. The network is nested in a config object and its mode is set through it."""
import enum
from types import SimpleNamespace

import torch
import wandb
from torch import nn
from torchvision.models import resnet18

from yields import YieldTiles


class Mode(enum.Enum):
    FIT = True
    SCORE = False


class ModeMixin:
    def to_mode(self, mode: Mode):
        for part in self.parts():
            part.train(mode.value)
        return self

    def parts(self):
        raise NotImplementedError


class Forecaster(ModeMixin):
    def __init__(self, lr):
        trunk = resnet18(weights="DEFAULT")
        trunk.fc = nn.Identity()
        self.ns = SimpleNamespace(trunk=trunk.cuda(), head=nn.Sequential(nn.Dropout(.3), nn.Linear(512 + 8, 1)).cuda())
        self.opt = torch.optim.Adam([p for part in self.parts() for p in part.parameters()], lr)

    def parts(self):
        return self.ns.trunk, self.ns.head

    def __call__(self, img, weather):
        return self.ns.head(torch.cat([self.ns.trunk(img.cuda()), weather.cuda()], 1)).squeeze(1)

    def epoch(self, loader, mode):
        self.to_mode(mode)
        se, n = 0., 0
        with torch.set_grad_enabled(mode.value):
            for img, weather, y in loader:
                err = (self(img, weather) - y.cuda()).square()
                if mode is Mode.FIT:
                    self.opt.zero_grad()
                    err.mean().backward()
                    self.opt.step()
                se, n = se + err.sum().item(), n + len(y)
        return (se / n) ** .5


def main():
    wandb.init(project="yield", config={"lr": 1e-4, "bs": 64, "epochs": 40})
    cfg = wandb.config
    dl = {m: torch.utils.data.DataLoader(YieldTiles(m.name.lower()), cfg.bs, shuffle=m.value) for m in Mode}
    model, stale, best = Forecaster(cfg.lr), 0, float("inf")
    for _ in range(cfg.epochs):
        rmse = {m.name: model.epoch(dl[m], m) for m in Mode}
        wandb.log(rmse)
        if rmse["SCORE"] < best:
            best, stale = rmse["SCORE"], 0
            torch.save([p.state_dict() for p in model.parts()], "yield.pt")
        elif (stale := stale + 1) > 5:
            break


if __name__ == "__main__":
    main()
