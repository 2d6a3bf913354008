import os

import torch
from torch import nn
from torch.nn.utils import spectral_norm
from torchvision.utils import make_grid, save_image


class CBN(nn.Module):
    """Conditional batch norm."""

    def __init__(self, c, classes):
        super().__init__()
        self.bn = nn.BatchNorm2d(c, affine=False)
        self.embed = nn.Embedding(classes, 2 * c)
        self.embed.weight.data[:, :c].fill_(1.)
        self.embed.weight.data[:, c:].zero_()

    def forward(self, x, y):
        g, b = self.embed(y).chunk(2, 1)
        return g[..., None, None] * self.bn(x) + b[..., None, None]


class GBlock(nn.Module):
    def __init__(self, i, o, k):
        super().__init__()
        self.n, self.c = CBN(i, k), nn.Conv2d(i, o, 3, 1, 1)

    def forward(self, x, y):
        return self.c(nn.functional.interpolate(torch.relu(self.n(x, y)), scale_factor=2))


class G(nn.Module):
    def __init__(self, k=10, z=128, c=256):
        super().__init__()
        self.z, self.k = z, k
        self.l = nn.Linear(z, c * 16)
        self.blocks = nn.ModuleList([GBlock(c, c, k) for _ in range(3)])
        self.out = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, 3, 3, 1, 1), nn.Tanh())

    def forward(self, z, y):
        h = self.l(z).view(len(z), -1, 4, 4)
        for b in self.blocks:
            h = b(h, y)
        return self.out(h)


class D(nn.Module):
    def __init__(self, k=10, c=128):
        super().__init__()
        layers = []
        for i, o in ((3, c), (c, c), (c, c)):
            layers += [spectral_norm(nn.Conv2d(i, o, 4, 2, 1)), nn.LeakyReLU(.1)]
        self.body = nn.Sequential(*layers)
        self.lin, self.emb = spectral_norm(nn.Linear(c, 1)), spectral_norm(nn.Embedding(k, c))

    def forward(self, x, y):
        h = self.body(x).sum((2, 3))
        return self.lin(h) + (self.emb(y) * h).sum(1, keepdim=True)


def sample(g, path, n=64):
    g.eval()
    with torch.no_grad():
        y = torch.arange(n).cuda() % g.k
        img = g(torch.randn(n, g.z).cuda(), y)
    save_image(make_grid(img, 8, normalize=True), path)
    g.train()


def main(loader, steps=50000):
    os.makedirs('samples', exist_ok=True)
    g, d = G().cuda(), D().cuda()
    og, od = torch.optim.Adam(g.parameters(), 2e-4, (0., .9)), torch.optim.Adam(d.parameters(), 2e-4, (0., .9))
    step = 0
    while step < steps:
        for x, y in loader:
            x, y = x.cuda(), y.cuda()
            z = torch.randn(len(x), g.z).cuda()
            fake = g(z, y)
            ld = torch.relu(1 - d(x, y)).mean() + torch.relu(1 + d(fake.detach(), y)).mean()
            od.zero_grad()
            ld.backward()
            od.step()
            if step % 5 == 0:
                lg = -d(g(z, y), y).mean()
                og.zero_grad()
                lg.backward()
                og.step()
            if step % 1000 == 0:
                sample(g, f'samples/{step}.png')
            step += 1


if __name__ == '__main__':
    from cifar import loader
    main(loader)
