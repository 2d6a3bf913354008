"""Anomaly detection on MVTec: an autoencoder; the threshold comes from the reconstruction errors of normal parts."""
from __future__ import annotations
import dataclasses as dc
import pathlib as pl
import typing as t

import numpy as np
import torch as th
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from mvtec import MVTec


@dc.dataclass(frozen=True)
class Hp:
    category: str = "bottle"
    epochs: int = 100
    bs: int = 32
    lr: float = 1e-3
    width: int = 32
    out: pl.Path = pl.Path("runs")


class AE(nn.Module):
    def __init__(self, w: int):
        super().__init__()
        enc: t.List[nn.Module] = []
        cin = 3
        for k in (1, 2, 4):
            enc.extend([nn.Conv2d(cin, w * k, 4, 2, 1), nn.BatchNorm2d(w * k), nn.GELU()])
            cin = w * k
        self.enc = nn.Sequential(*enc)
        dec: t.List[nn.Module] = []
        for k in (2, 1):
            dec.extend([nn.ConvTranspose2d(cin, w * k, 4, 2, 1), nn.BatchNorm2d(w * k), nn.GELU()])
            cin = w * k
        self.dec = nn.Sequential(*dec, nn.ConvTranspose2d(cin, 3, 4, 2, 1))

    def forward(self, x: th.Tensor) -> th.Tensor:
        return self.dec(self.enc(x))


def errors(ae: AE, dl: t.Iterable, dev: str) -> np.ndarray:
    with th.inference_mode():
        es = [F.mse_loss(ae(x.to(dev)), x.to(dev), reduction="none").flatten(1).mean(1).cpu() for x, *_ in dl]  # expect: NA401
    return th.cat(es).numpy()


def run(hp: Hp) -> float:
    dev = "cuda" if th.cuda.is_available() else "cpu"
    mk = lambda split, **kw: th.utils.data.DataLoader(MVTec(hp.category, split), hp.bs, **kw)
    train, good, test = mk("train", shuffle=True), mk("good"), mk("test")
    ae = AE(hp.width).to(dev)
    opt = th.optim.Adam(ae.parameters(), hp.lr)
    for epoch in range(hp.epochs):
        tot = 0.0
        for x, *_ in train:
            x = x.to(dev)
            loss = F.mse_loss(ae(x + 0.05 * th.randn_like(x)), x)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        print(f"{epoch=} {tot=:.3f}")
    thr = np.quantile(errors(ae, good, dev), 0.95)
    e = errors(ae, test, dev)
    y = np.concatenate([y.numpy() for _, y in test])
    hp.out.mkdir(exist_ok=True)
    np.savez(hp.out / "scores.npz", e=e, y=y, thr=thr)
    return roc_auc_score(y, e)


if __name__ == "__main__":
    print("AUROC", run(Hp()))
