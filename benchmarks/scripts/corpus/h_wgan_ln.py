"""WGAN-GP for 1-D ECG beats; the critic uses instance norm because the penalty is per sample."""
import itertools
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

Z, LEN = 64, 256


def up(i, o):
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv1d(i, o, 9, padding=4), nn.BatchNorm1d(o), nn.ReLU())


def dn(i, o):
    return nn.Sequential(nn.Conv1d(i, o, 9, 2, 4), nn.InstanceNorm1d(o, affine=True), nn.LeakyReLU(.2))


class Gen(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(Z, 128 * 32)
        self.net = nn.Sequential(up(128, 64), up(64, 32), up(32, 16), nn.Conv1d(16, 1, 9, padding=4), nn.Tanh())

    def forward(self, z):
        return self.net(self.fc(z).view(-1, 128, 32))


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(dn(1, 32), dn(32, 64), dn(64, 128), nn.Flatten(), nn.Linear(128 * 32, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


def penalty(critic, real, fake):
    a = torch.rand(len(real), 1, 1)
    mix = torch.lerp(real, fake, a).requires_grad_()
    (g,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
    return (g.flatten(1).norm(dim=1) - 1).square().mean()


def coverage(gen, real, n=512):
    """Share of real beats that have a generated one nearby."""
    for net in (gen,):
        net.eval()
    with torch.no_grad():
        fake = gen(torch.randn(n, Z))
    gen.train()
    d = torch.cdist(real.flatten(1)[:n], fake.flatten(1))
    return (d.min(1).values < d.median()).float().mean().item()


beats = torch.load("beats.pt").float().view(-1, 1, LEN)
dl = DataLoader(TensorDataset(beats), 64, shuffle=True, drop_last=True)
gen, critic = Gen(), Critic()
go = torch.optim.Adam(gen.parameters(), 1e-4, (0., .9))
co = torch.optim.Adam(critic.parameters(), 1e-4, (0., .9))
for it, (real,) in zip(range(50000), itertools.chain.from_iterable(itertools.repeat(dl))):
    with torch.no_grad():
        fake = gen(torch.randn(len(real), Z))  # allow: NA401 NA404
    loss = critic(fake).mean() - critic(real).mean() + 10 * penalty(critic, real, fake)
    co.zero_grad()
    loss.backward()
    co.step()
    if it % 5 == 0:
        gl = -critic(gen(torch.randn(len(real), Z))).mean()
        go.zero_grad()
        gl.backward()
        go.step()
    if it % 1000 == 0:
        print(it, loss.item(), coverage(gen, beats))
