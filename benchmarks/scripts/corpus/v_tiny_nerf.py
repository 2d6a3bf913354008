import numpy as np
import torch
from torch import nn


def positional_encoding(x, n=6):
    out = [x]
    for i in range(n):
        out += [torch.sin(2.0 ** i * x), torch.cos(2.0 ** i * x)]
    return torch.cat(out, -1)


class VeryTinyNerf(nn.Module):
    def __init__(self, filter_size=128, n=6):
        super().__init__()
        self.layer1 = nn.Linear(3 + 6 * n, filter_size)
        self.layer2 = nn.Linear(filter_size, filter_size)
        self.layer3 = nn.Linear(filter_size, 4)

    def forward(self, x):
        x = torch.relu(self.layer1(x))
        return self.layer3(torch.relu(self.layer2(x)))


def get_rays(h, w, focal, c2w):
    j, i = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    d = torch.stack([(i - w * 0.5) / focal, -(j - h * 0.5) / focal, -torch.ones_like(i)], -1)
    rays_d = torch.sum(d[..., None, :] * c2w[:3, :3], -1)
    return c2w[:3, -1].expand(rays_d.shape), rays_d


def render(model, rays_o, rays_d, near, far, n_samples, chunk=16384):
    z = torch.linspace(near, far, n_samples)
    pts = rays_o[..., None, :] + rays_d[..., None, :] * z[:, None]
    flat = positional_encoding(pts.reshape(-1, 3))
    raw = torch.cat([model(flat[i:i + chunk]) for i in range(0, len(flat), chunk)]).reshape(*pts.shape[:-1], 4)
    alpha = 1.0 - torch.exp(-torch.relu(raw[..., 3]) * (far - near) / n_samples)
    weights = alpha * torch.cumprod(1.0 - alpha + 1e-10, -1)
    return (weights[..., None] * torch.sigmoid(raw[..., :3])).sum(-2)


def main():
    data = np.load("tiny_nerf_data.npz")
    images, poses, focal = (torch.from_numpy(data[k]) for k in ("images", "poses", "focal"))
    h, w = images.shape[1:3]
    testimg, testpose = images[101], poses[101]
    images = images[:100]
    model = VeryTinyNerf()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for i in range(1000):
        k = np.random.randint(images.shape[0])
        rgb = render(model, *get_rays(h, w, focal, poses[k]), 2.0, 6.0, 32)
        loss = nn.functional.mse_loss(rgb, images[k])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 25 == 0:
            with torch.no_grad():
                rgb = render(model, *get_rays(h, w, focal, testpose), 2.0, 6.0, 32)
                print(i, "PSNR", (-10.0 * torch.log10(nn.functional.mse_loss(rgb, testimg))).item())


if __name__ == "__main__":
    main()
