"""Convolutional VAE on CelebA crops."""
import argparse

import torch
from torch import nn, optim
from torch.nn import functional as F
from torchvision import datasets, transforms
from torchvision.utils import save_image


class VAE(nn.Module):
    def __init__(self, zdim=64):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.mu = nn.Linear(64 * 16 * 16, zdim)
        self.logvar = nn.Linear(64 * 16 * 16, zdim)
        self.fc = nn.Linear(zdim, 64 * 16 * 16)
        self.dec = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Sigmoid(),
        )

    def encode(self, x):
        h = self.enc(x)
        return self.mu(h), self.logvar(h)

    def reparameterize(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

    def decode(self, z):
        return self.dec(self.fc(z).view(-1, 64, 16, 16))

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    bce = F.binary_cross_entropy(recon_x, x, reduction='sum')
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


def train(epoch, model, loader, optimizer, device):
    model.train()
    total = 0
    for data, _ in loader:
        data = data.to(device)
        optimizer.zero_grad()
        recon, mu, logvar = model(data)
        loss = loss_function(recon, data, mu, logvar)
        loss.backward()
        total += loss.item()
        optimizer.step()
    print(f'====> Epoch: {epoch} Average loss: {total / len(loader.dataset):.4f}')


@torch.no_grad()
def test(epoch, model, loader, device):
    total = 0
    for i, (data, _) in enumerate(loader):
        data = data.to(device)
        recon, mu, logvar = model(data)  # expect: NA401
        total += loss_function(recon, data, mu, logvar).item()
        if i == 0:
            n = min(data.size(0), 8)
            save_image(torch.cat([data[:n], recon[:n]]).cpu(), f'results/reconstruction_{epoch}.png', nrow=n)
    print(f'====> Test set loss: {total / len(loader.dataset):.4f}')


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--epochs', type=int, default=10)
    ap.add_argument('--batch-size', type=int, default=128)
    args = ap.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    tf = transforms.Compose([transforms.CenterCrop(148), transforms.Resize(64), transforms.ToTensor()])
    tr = torch.utils.data.DataLoader(datasets.CelebA('data', 'train', transform=tf), args.batch_size, shuffle=True)
    te = torch.utils.data.DataLoader(datasets.CelebA('data', 'test', transform=tf), args.batch_size)
    model = VAE().to(device)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(1, args.epochs + 1):
        train(epoch, model, tr, optimizer, device)
        test(epoch, model, te, device)


if __name__ == '__main__':
    main()
