import copy
import math
from functools import partial, wraps
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Adam
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10
from torchvision.transforms import ToTensor
from torchvision.utils import save_image


def eval_decorator(fn):
    @wraps(fn)
    def inner(model, *args, **kwargs):
        was_training = model.training
        model.eval()
        out = fn(model, *args, **kwargs)
        model.train(was_training)
        return out
    return inner


class EMA:
    def __init__(self, beta):
        self.beta = beta

    def update_model_average(self, ma_model, current_model):
        for c, ma in zip(current_model.parameters(), ma_model.parameters()):
            ma.data = ma.data * self.beta + (1 - self.beta) * c.data


class ResBlock(nn.Module):
    def __init__(self, c, t, dropout=0.1):
        super().__init__()
        self.norm = nn.GroupNorm(8, c)
        self.conv = nn.Conv2d(c, c, 3, padding=1)
        self.emb = nn.Linear(t, c)
        self.drop = nn.Dropout(dropout)

    def forward(self, x, t):
        h = self.conv(F.silu(self.norm(x))) + self.emb(t)[:, :, None, None]
        return x + self.drop(h)


class Unet(nn.Module):
    def __init__(self, dim=64, depth=6):
        super().__init__()
        self.dim = dim
        self.inp, self.out = nn.Conv2d(3, dim, 3, padding=1), nn.Conv2d(dim, 3, 3, padding=1)
        self.blocks = nn.ModuleList([ResBlock(dim, dim) for _ in range(depth)])
        nn.init.zeros_(self.out.weight)

    def forward(self, x, t):
        half = self.dim // 2
        freqs = torch.exp(torch.arange(half, device=x.device) * (-math.log(10000) / half))
        emb = torch.cat([(t[:, None] * freqs).sin(), (t[:, None] * freqs).cos()], dim=1)
        x = self.inp(x)
        for b in self.blocks:
            x = b(x, emb)
        return self.out(x)


class GaussianDiffusion(nn.Module):
    def __init__(self, denoise_fn, timesteps=1000):
        super().__init__()
        self.denoise_fn = denoise_fn
        betas = torch.linspace(1e-4, 0.02, timesteps)
        self.register_buffer("betas", betas)
        self.register_buffer("alphas_bar", torch.cumprod(1 - betas, 0))

    def p_sample(self, x, t):
        tt = torch.full((x.size(0),), t, device=x.device, dtype=torch.long)
        eps = self.denoise_fn(x, tt)
        a, ab = 1 - self.betas[t], self.alphas_bar[t]
        mean = (x - (1 - a) / (1 - ab).sqrt() * eps) / a.sqrt()
        return mean + self.betas[t].sqrt() * torch.randn_like(x) if t else mean

    @torch.no_grad()
    @eval_decorator
    def sample(self, n):
        x = torch.randn(n, 3, 32, 32, device=self.betas.device)
        for t in reversed(range(len(self.betas))):
            x = self.p_sample(x, t)
        return x

    def forward(self, x):
        t = torch.randint(0, len(self.betas), (x.size(0),), device=x.device)
        noise = torch.randn_like(x)
        ab = self.alphas_bar[t][:, None, None, None]
        return F.l1_loss(self.denoise_fn(ab.sqrt() * x + (1 - ab).sqrt() * noise, t), noise)


class Trainer:
    def __init__(self, model, folder="./results", ema_decay=0.995, steps=700000):
        self.model = model
        self.ema = EMA(ema_decay)
        self.ema_model = copy.deepcopy(model)
        self.steps = steps
        self.dl = DataLoader(CIFAR10("data", transform=ToTensor(), download=True), 32, shuffle=True)
        self.opt = Adam(model.parameters(), lr=2e-5)
        self.folder = Path(folder)
        self.step = 0

    def train(self):
        backwards = partial(torch.Tensor.backward)
        while self.step < self.steps:
            for x, _ in self.dl:
                loss = self.model(x.cuda() * 2 - 1)
                backwards(loss)
                self.opt.step()
                self.opt.zero_grad()
                if self.step % 10 == 0:
                    self.ema.update_model_average(self.ema_model, self.model)
                if self.step and self.step % 1000 == 0:
                    images = self.ema_model.sample(36)
                    save_image((images + 1) * 0.5, str(self.folder / f"sample-{self.step}.png"), nrow=6)
                self.step += 1


if __name__ == "__main__":
    Trainer(GaussianDiffusion(Unet()).cuda()).train()
