import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from tqdm import trange

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def positional_encoding(x, L=6):
    out = [x]
    for i in range(L):
        for fn in (torch.sin, torch.cos):
            out.append(fn(2.0 ** i * x))
    return torch.cat(out, -1)


class VeryTinyNerfModel(nn.Module):
    def __init__(self, filter_size=128, L=6):
        super().__init__()
        self.layer1 = nn.Linear(3 + 3 * 2 * L, filter_size)
        self.layer2 = nn.Linear(filter_size, filter_size)
        self.layer3 = nn.Linear(filter_size, 4)

    def forward(self, x):
        x = F.relu(self.layer1(x))
        x = F.relu(self.layer2(x))
        return self.layer3(x)


def get_rays(H, W, focal, c2w):
    i, j = torch.meshgrid(torch.arange(W).to(c2w), torch.arange(H).to(c2w), indexing='xy')
    dirs = torch.stack([(i - W * .5) / focal, -(j - H * .5) / focal, -torch.ones_like(i)], -1)
    rays_d = torch.sum(dirs[..., None, :] * c2w[:3, :3], -1)
    return c2w[:3, -1].expand(rays_d.shape), rays_d


def render_rays(net, rays_o, rays_d, near, far, n_samples, rand=False):
    z = torch.linspace(near, far, n_samples).to(rays_o)
    if rand:
        z = z + torch.rand(list(rays_o.shape[:-1]) + [n_samples]).to(rays_o) * (far - near) / n_samples
    pts = rays_o[..., None, :] + rays_d[..., None, :] * z[..., :, None]
    flat = positional_encoding(pts.reshape(-1, 3))
    raw = torch.cat([net(c) for c in flat.split(4096 * 4)], 0).reshape(list(pts.shape[:-1]) + [4])
    sigma, rgb = F.relu(raw[..., 3]), torch.sigmoid(raw[..., :3])
    dists = torch.cat([z[..., 1:] - z[..., :-1], torch.full_like(z[..., :1], 1e10)], -1)
    alpha = 1. - torch.exp(-sigma * dists)
    weights = alpha * torch.cumprod(1. - alpha + 1e-10, -1).roll(1, -1)
    return (weights[..., None] * rgb).sum(-2)


def main(n_iters=1000, plot_step=50):
    data = np.load('tiny_nerf_data.npz')
    images, poses = torch.from_numpy(data['images']).to(device), torch.from_numpy(data['poses']).to(device)
    focal = float(data['focal'])
    H, W = images.shape[1:3]
    test_img, test_pose = images[101], poses[101]
    model = VeryTinyNerfModel().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    psnrs = []
    for i in trange(n_iters):
        k = np.random.randint(100)
        ro, rd = get_rays(H, W, focal, poses[k])
        loss = F.mse_loss(render_rays(model, ro, rd, 2., 6., 64, rand=True), images[k])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % plot_step == 0:
            with torch.no_grad():
                ro, rd = get_rays(H, W, focal, test_pose)
                rgb = render_rays(model, ro, rd, 2., 6., 64)
                psnrs.append(-10. * torch.log10(F.mse_loss(rgb, test_img)).item())
                print(i, psnrs[-1])
    torch.save(model.state_dict(), 'nerf.pt')


if __name__ == '__main__':
    main()
