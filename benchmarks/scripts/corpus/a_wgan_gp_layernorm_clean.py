import torch
from torch import nn, autograd


def conv_block(i, o, size, norm):
    layers = [nn.Conv2d(i, o, 4, 2, 1)]
    if norm == 'layer':
        layers.append(nn.LayerNorm([o, size, size]))
    elif norm == 'instance':
        layers.append(nn.InstanceNorm2d(o, affine=True))
    layers.append(nn.LeakyReLU(.2))
    return nn.Sequential(*layers)


class Critic(nn.Module):
    def __init__(self, norm='layer'):
        super().__init__()
        self.net = nn.Sequential(conv_block(3, 64, 32, None), conv_block(64, 128, 16, norm), conv_block(128, 256, 8, norm), nn.Conv2d(256, 1, 8))

    def forward(self, x):
        return self.net(x).view(-1)


class Gen(nn.Module):
    def __init__(self, z=128):
        super().__init__()
        self.z = z
        self.net = nn.Sequential(
            nn.ConvTranspose2d(z, 256, 8), nn.BatchNorm2d(256), nn.ReLU(),
            nn.ConvTranspose2d(256, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Tanh())

    def forward(self, z):
        return self.net(z[..., None, None])


class WGAN:
    def __init__(self, loader, device='cuda', gp=10.):
        self.loader, self.device, self.gp = loader, device, gp
        self.D, self.G = Critic().to(device), Gen().to(device)
        self.optD = torch.optim.Adam(self.D.parameters(), 1e-4, betas=(0., .9))
        self.optG = torch.optim.Adam(self.G.parameters(), 1e-4, betas=(0., .9))
        self.fixed = torch.randn(64, self.G.z, device=device)

    def penalty(self, real, fake):
        eps = torch.rand(len(real), 1, 1, 1, device=self.device)
        mix = (eps * real + (1 - eps) * fake).requires_grad_()
        g, = autograd.grad(self.D(mix).sum(), mix, create_graph=True)
        return self.gp * ((g.flatten(1).norm(dim=1) - 1) ** 2).mean()

    def noise(self, n):
        return torch.randn(n, self.G.z, device=self.device)

    def critic_step(self, real):
        with torch.no_grad():
            fake = self.G(self.noise(len(real)))
        loss = self.D(fake).mean() - self.D(real).mean() + self.penalty(real, fake)
        self.optD.zero_grad()
        loss.backward()
        self.optD.step()
        return -loss.item()

    def gen_step(self, n):
        loss = -self.D(self.G(self.noise(n))).mean()
        self.optG.zero_grad()
        loss.backward()
        self.optG.step()

    def train(self, iterations):
        it = iter(self.loader)
        for i in range(iterations):
            for _ in range(5):
                try:
                    real, _ = next(it)
                except StopIteration:
                    it = iter(self.loader)
                    real, _ = next(it)
                w = self.critic_step(real.to(self.device))
            self.gen_step(len(real))
            if i % 500 == 0:
                self.sample(i, w)

    @torch.no_grad()
    def sample(self, i, w):
        from torchvision.utils import save_image
        self.G.eval()
        save_image(self.G(self.fixed) * .5 + .5, f'samples/{i:06d}_{w:.2f}.png')
        self.G.train()


if __name__ == '__main__':
    from celeb import get_loader
    WGAN(get_loader(64)).train(100_000)
