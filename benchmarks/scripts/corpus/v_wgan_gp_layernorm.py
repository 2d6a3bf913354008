"""WGAN-GP on LSUN bedrooms; critic follows section 4 of the paper (no batch norm in D)."""
import torch
from torch import nn, optim
from torch.utils.data import DataLoader

from lsun import LSUNBedrooms


def make_norm(kind, c):
    if kind == "batch":
        return nn.BatchNorm2d(c)
    if kind == "instance":
        return nn.InstanceNorm2d(c, affine=True)
    return nn.Identity()


class Critic(nn.Module):
    def __init__(self, ch=64, norm="instance"):
        super().__init__()
        layers = [nn.Conv2d(3, ch, 4, 2, 1), nn.LeakyReLU(0.2)]
        for k in range(3):
            layers += [nn.Conv2d(ch << k, ch << (k + 1), 4, 2, 1), make_norm(norm, ch << (k + 1)), nn.LeakyReLU(0.2)]
        layers.append(nn.Conv2d(ch << 3, 1, 4, 1, 0))
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x).flatten()


class Gen(nn.Module):
    def __init__(self, z=128, ch=64, norm="batch"):
        super().__init__()
        self.z = z
        layers = [nn.ConvTranspose2d(z, ch * 8, 4, 1, 0), make_norm(norm, ch * 8), nn.ReLU()]
        for k in (8, 4, 2):
            layers += [nn.ConvTranspose2d(ch * k, ch * k // 2, 4, 2, 1), make_norm(norm, ch * k // 2), nn.ReLU()]
        layers += [nn.ConvTranspose2d(ch, 3, 4, 2, 1), nn.Tanh()]
        self.net = nn.Sequential(*layers)

    def forward(self, z):
        return self.net(z[:, :, None, None])


def gradient_penalty(critic, real, fake):
    eps = torch.rand(real.size(0), 1, 1, 1, device=real.device)
    mix = (eps * real + (1 - eps) * fake).requires_grad_()
    score = critic(mix)
    (grad,) = torch.autograd.grad(score.sum(), mix, create_graph=True)
    return (grad.flatten(1).norm(dim=1) - 1).pow(2).mean()


def main(device="cuda", steps=200_000, lam=10.0):
    gen, critic = Gen().to(device), Critic().to(device)
    opt_g = optim.Adam(gen.parameters(), 1e-4, betas=(0.0, 0.9))
    opt_c = optim.Adam(critic.parameters(), 1e-4, betas=(0.0, 0.9))
    data = iter(DataLoader(LSUNBedrooms("/data/lsun"), batch_size=64, shuffle=True, drop_last=True))
    for step in range(steps):
        for _ in range(5):
            real = next(data).to(device)
            with torch.no_grad():
                fake = gen(torch.randn(real.size(0), gen.z, device=device))  # allow: NA404
            loss_c = critic(fake).mean() - critic(real).mean() + lam * gradient_penalty(critic, real, fake)
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
        loss_g = -critic(gen(torch.randn(64, gen.z, device=device))).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        if step % 1000 == 0:
            print(step, -loss_c.item())
            torch.save(gen.state_dict(), f"gen_{step:06d}.pt")


if __name__ == "__main__":
    main()
