"""Precipitation nowcasting. Modes are managed by a decorator so that no caller can forget them."""
import functools
import logging
from typing import Callable

import numpy as np
import torch
import xarray as xr
from torch import nn

LOG = logging.getLogger("nowcast")


def inference(fn: Callable) -> Callable:
    @functools.wraps(fn)
    def wrapper(self, *args, **kwargs):
        before = {m: m.training for m in self.net.modules()}
        self.net.eval()
        try:
            with torch.no_grad():
                return fn(self, *args, **kwargs)
        finally:
            for m, flag in before.items():
                m.training = flag
    return wrapper


class ConvLSTMCell(nn.Module):
    def __init__(self, cin, ch):
        super().__init__()
        self.ch = ch
        self.gates = nn.Sequential(nn.Conv2d(cin + ch, 4 * ch, 3, padding=1, bias=False), nn.BatchNorm2d(4 * ch))

    def forward(self, x, state):
        h, c = state
        i, f, o, g = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Nowcaster(nn.Module):
    def __init__(self, ch=32):
        super().__init__()
        self.cell, self.drop, self.out = ConvLSTMCell(1, ch), nn.Dropout2d(0.1), nn.Conv2d(ch, 1, 1)

    def forward(self, seq, horizon):
        b, t, _, h, w = seq.shape
        state = (seq.new_zeros(b, self.cell.ch, h, w),) * 2
        frames = []
        for k in range(t + horizon):
            x = seq[:, k] if k < t else frames[-1]
            state = self.cell(x, state)
            frames.append(self.out(self.drop(state[0])))
        return torch.stack(frames[-horizon:], 1)


class System:
    def __init__(self, lead=6):
        self.net, self.lead = Nowcaster().cuda(), lead
        self.opt = torch.optim.Adam(self.net.parameters(), 1e-3)

    def train_step(self, past, future):
        self.opt.zero_grad()
        loss = (self.net(past, self.lead) - future).abs().mean()
        loss.backward()
        self.opt.step()
        return loss.item()

    @inference
    def csi(self, batches, threshold=0.5):
        hit = union = 0
        for past, future in batches:
            p, q = self.net(past.cuda(), self.lead).cpu() > threshold, future > threshold
            hit += (p & q).sum().item()
            union += (p | q).sum().item()
        return hit / max(union, 1)

    @inference
    def forecast(self, past):
        return self.net(past.cuda(), self.lead).cpu().numpy()


def batches(ds, times, bs=8, t_in=6, t_out=6):
    arr = ds["rain"].values[:, None].astype(np.float32)
    for k in range(0, len(times) - bs, bs):
        idx = times[k:k + bs]
        yield (torch.from_numpy(np.stack([arr[i:i + t_in] for i in idx])),
               torch.from_numpy(np.stack([arr[i + t_in:i + t_in + t_out] for i in idx])))


def main():
    ds = xr.open_dataset("radar.nc")
    times = np.random.permutation(ds.sizes["time"] - 12)
    cut = int(.9 * len(times))
    system = System()
    for epoch in range(50):
        for n, (past, future) in enumerate(batches(ds, times[:cut])):
            loss = system.train_step(past.cuda(), future.cuda())
            if n % 200 == 0:
                LOG.info("%d/%d loss %.3f csi %.3f", epoch, n, loss, system.csi(batches(ds, times[cut:])))
    np.save("forecast.npy", system.forecast(next(batches(ds, times[cut:]))[0]))


if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    main()
