import argparse
import copy
import math
import os

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from torch.utils.data import DataLoader
from torchvision import transforms


class EMA:
    def __init__(self, beta):
        self.beta = beta
        self.step = 0

    def update_model_average(self, ma_model, current_model):
        for current_params, ma_params in zip(current_model.parameters(), ma_model.parameters()):
            ma_params.data = ma_params.data * self.beta + (1 - self.beta) * current_params.data

    def step_ema(self, ema_model, model, step_start_ema=2000):
        if self.step < step_start_ema:
            ema_model.load_state_dict(model.state_dict())
        else:
            self.update_model_average(ema_model, model)
        self.step += 1


class Block(nn.Module):
    def __init__(self, cin, cout, tdim, dropout=0.1):
        super().__init__()
        self.a = nn.Sequential(nn.GroupNorm(8, cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1))
        self.emb = nn.Linear(tdim, cout)
        self.b = nn.Sequential(nn.GroupNorm(8, cout), nn.SiLU(), nn.Dropout(dropout), nn.Conv2d(cout, cout, 3, padding=1))
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x, t):
        h = self.a(x) + self.emb(t)[:, :, None, None]
        return self.b(h) + self.skip(x)


class UNet(nn.Module):
    def __init__(self, ch=64, tdim=256):
        super().__init__()
        self.tdim = tdim
        self.stem = nn.Conv2d(3, ch, 3, padding=1)
        self.d1, self.d2 = Block(ch, ch, tdim), Block(ch, 2 * ch, tdim)
        self.u1 = Block(3 * ch, ch, tdim)
        self.out = nn.Conv2d(ch, 3, 1)

    def pos_encoding(self, t):
        f = torch.exp(-math.log(10000) * torch.arange(0, self.tdim, 2, device=t.device) / self.tdim)
        a = t[:, None].float() * f
        return torch.cat([a.sin(), a.cos()], -1)

    def forward(self, x, t):
        t = self.pos_encoding(t)
        h1 = self.d1(self.stem(x), t)
        h2 = self.d2(F.avg_pool2d(h1, 2), t)
        return self.out(self.u1(torch.cat([h1, F.interpolate(h2, scale_factor=2)], 1), t))


class Diffusion:
    def __init__(self, noise_steps=1000, img_size=32, device="cuda"):
        self.noise_steps, self.img_size, self.device = noise_steps, img_size, device
        self.beta = torch.linspace(1e-4, 0.02, noise_steps).to(device)
        self.alpha = 1. - self.beta
        self.alpha_hat = torch.cumprod(self.alpha, dim=0)

    def noise_images(self, x, t):
        s = self.alpha_hat[t][:, None, None, None]
        eps = torch.randn_like(x)
        return s.sqrt() * x + (1 - s).sqrt() * eps, eps

    def sample(self, model, n):
        model.eval()
        with torch.no_grad():
            x = torch.randn((n, 3, self.img_size, self.img_size)).to(self.device)
            for i in reversed(range(1, self.noise_steps)):
                t = (torch.ones(n) * i).long().to(self.device)
                eps = model(x, t)
                a, ah, b = (v[t][:, None, None, None] for v in (self.alpha, self.alpha_hat, self.beta))
                noise = torch.randn_like(x) if i > 1 else torch.zeros_like(x)
                x = 1 / a.sqrt() * (x - ((1 - a) / (1 - ah).sqrt()) * eps) + b.sqrt() * noise
        model.train()
        return ((x.clamp(-1, 1) + 1) / 2 * 255).type(torch.uint8)


def train(args):
    tf = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    loader = DataLoader(torchvision.datasets.CIFAR10("data", download=True, transform=tf), args.batch_size, shuffle=True)
    model = UNet().to(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    diffusion = Diffusion(device=args.device)
    ema = EMA(0.995)
    ema_model = copy.deepcopy(model).eval().requires_grad_(False)
    for epoch in range(args.epochs):
        for images, _ in loader:
            images = images.to(args.device)
            t = torch.randint(1, 1000, (images.shape[0],), device=args.device)
            x_t, noise = diffusion.noise_images(images, t)
            loss = F.mse_loss(noise, model(x_t, t))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema.step_ema(ema_model, model)
        sampled = diffusion.sample(model, n=images.shape[0])
        ema_sampled = diffusion.sample(ema_model, n=images.shape[0])
        torchvision.utils.save_image(sampled / 255, os.path.join("results", f"{epoch}.jpg"))
        torchvision.utils.save_image(ema_sampled / 255, os.path.join("results", f"{epoch}_ema.jpg"))


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=500)
    p.add_argument("--batch_size", type=int, default=12)
    p.add_argument("--lr", type=float, default=3e-4)
    p.add_argument("--device", default="cuda")
    train(p.parse_args())
