import torch
from torch import autograd, nn
from torch.utils.data import DataLoader

from shapenet_voxels import Voxels


def conv3(i, o, bn=True):
    mods = [nn.Conv3d(i, o, 4, 2, 1)]
    if bn:
        mods.append(nn.BatchNorm3d(o))
    return mods + [nn.LeakyReLU(0.2)]


def deconv3(i, o):
    return [nn.ConvTranspose3d(i, o, 4, 2, 1), nn.BatchNorm3d(o), nn.ReLU()]


class VoxelWGAN:
    LAMBDA = 10

    def __init__(self, z=200, device="cuda"):
        self.z, self.device = z, device
        self.G = nn.Sequential(nn.ConvTranspose3d(z, 256, 4), nn.BatchNorm3d(256), nn.ReLU(),
                               *deconv3(256, 128), *deconv3(128, 64), nn.ConvTranspose3d(64, 1, 4, 2, 1), nn.Sigmoid()).to(device)
        self.D = nn.Sequential(*conv3(1, 64, bn=False), *conv3(64, 128), *conv3(128, 256), nn.Conv3d(256, 1, 4)).to(device)
        self.opt_g = torch.optim.RMSprop(self.G.parameters(), 5e-5)
        self.opt_d = torch.optim.RMSprop(self.D.parameters(), 5e-5)

    def noise(self, n):
        return torch.randn(n, self.z, 1, 1, 1, device=self.device)

    def gradient_penalty(self, real, fake):
        eps = torch.rand(real.size(0), 1, 1, 1, 1, device=self.device)
        x = (eps * real + (1 - eps) * fake.detach()).requires_grad_(True)
        y = self.D(x)
        grad = autograd.grad(y, x, torch.ones_like(y), create_graph=True)[0]  # expect: NA204
        return self.LAMBDA * ((grad.view(len(x), -1).norm(2, 1) - 1) ** 2).mean()

    def critic_step(self, real):
        fake = self.G(self.noise(len(real))).detach()
        loss = self.D(fake).mean() - self.D(real).mean() + self.gradient_penalty(real, fake)
        self.opt_d.zero_grad()
        loss.backward()
        self.opt_d.step()
        return loss

    def generator_step(self, n):
        loss = -self.D(self.G(self.noise(n))).mean()
        self.opt_g.zero_grad()
        loss.backward()
        self.opt_g.step()
        return loss

    @torch.no_grad()
    def save_samples(self, path, n=16):
        nets = [self.G, self.D]
        for net in nets:
            net.eval()
        torch.save(self.G(self.noise(n)).cpu() > 0.5, path)
        for net in nets:
            net.train()


def main(epochs=500):
    loader = DataLoader(Voxels("chair"), 64, shuffle=True, drop_last=True)
    gan = VoxelWGAN()
    for epoch in range(epochs):
        for i, vox in enumerate(loader):
            d = gan.critic_step(vox.to(gan.device))
            if i % 5 == 4:
                g = gan.generator_step(len(vox))
        print(epoch, d.item(), g.item())
        gan.save_samples(f"chairs_{epoch}.pt")


if __name__ == "__main__":
    main()
