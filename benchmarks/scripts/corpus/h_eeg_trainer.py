import abc
import time

import numpy as np
import torch
from braindecode.datasets import MOABBDataset
from torch import nn, optim


class BaseTrainer(abc.ABC):
    """Handles epochs, modes and checkpoints; subclasses say what a step is."""

    def __init__(self, model, optimizer, device="cuda"):
        self.model = model.to(device)
        self.optimizer = optimizer
        self.device = device
        self.best = -np.inf

    @abc.abstractmethod
    def step(self, batch):
        ...

    def _run(self, loader, train):
        self._set_mode(train)
        logs = []
        ctx = torch.enable_grad() if train else torch.no_grad()
        with ctx:
            for batch in loader:
                out = self.step(batch)
                if train:
                    self.optimizer.zero_grad()
                    out["loss"].backward()
                    self.optimizer.step()
                logs.append({k: float(v) for k, v in out.items()})
        return {k: np.mean([l[k] for l in logs]) for k in logs[0]}

    def _set_mode(self, train):
        if train:
            self.model.train()
        else:
            self.model.eval()

    def fit(self, train_loader, valid_loader, epochs):
        for e in range(epochs):
            t0 = time.time()
            tr = self._run(train_loader, True)
            va = self._run(valid_loader, False)
            print(f"[{e:03d}] {tr} {va} {time.time() - t0:.1f}s")
            if va["acc"] > self.best:
                self.best = va["acc"]
                torch.save(self.model.state_dict(), "best_eeg.pt")
        return self


class EEGNet(nn.Module):
    def __init__(self, chans=22, classes=4, F1=8, D=2):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, F1, (1, 64), padding=(0, 32), bias=False), nn.BatchNorm2d(F1),
            nn.Conv2d(F1, F1 * D, (chans, 1), groups=F1, bias=False), nn.BatchNorm2d(F1 * D), nn.ELU(),
            nn.AvgPool2d((1, 4)), nn.Dropout(0.25),
            nn.Flatten(), nn.LazyLinear(classes))

    def forward(self, x):
        return self.net(x.unsqueeze(1))


class EEGTrainer(BaseTrainer):
    criterion = nn.CrossEntropyLoss()

    def step(self, batch):
        x, y, _ = batch
        logits = self.model(x.to(self.device).float())
        y = y.to(self.device).long()
        return {"loss": self.criterion(logits, y), "acc": (logits.argmax(1) == y).float().mean()}


if __name__ == "__main__":
    ds = MOABBDataset("BNCI2014001", subject_ids=[1])
    split = ds.split("session")
    tl = torch.utils.data.DataLoader(split["0train"], 64, shuffle=True)
    vl = torch.utils.data.DataLoader(split["1test"], 64)
    model = EEGNet()
    model(torch.randn(2, 22, 1000))  # materialise the lazy layer
    EEGTrainer(model, optim.Adam(model.parameters(), 1e-3)).fit(tl, vl, 200)
