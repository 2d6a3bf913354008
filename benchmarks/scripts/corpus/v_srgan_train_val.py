import argparse
from math import log10

import pandas as pd
import torch
import torch.optim as optim
import torch.utils.data
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

import pytorch_ssim
from data_utils import TrainDatasetFromFolder, ValDatasetFromFolder
from loss import GeneratorLoss


class ResidualBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.PReLU(), nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c))

    def forward(self, x):
        return x + self.body(x)


class Generator(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, 64, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(*[ResidualBlock(64) for _ in range(5)])
        self.tail = nn.Sequential(nn.Conv2d(64, 3 * scale * scale, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        h = self.head(x)
        return (torch.tanh(self.tail(h + self.body(h))) + 1) / 2


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(64, 128, 3, 2, 1), nn.BatchNorm2d(128),
                                 nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(1), nn.Conv2d(128, 1, 1))

    def forward(self, x):
        return torch.sigmoid(self.net(x).view(x.size(0)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--upscale_factor", default=4, type=int)
    parser.add_argument("--num_epochs", default=100, type=int)
    opt = parser.parse_args()
    train_loader = DataLoader(TrainDatasetFromFolder("data/DIV2K_train_HR"), batch_size=64, shuffle=True)
    val_loader = DataLoader(ValDatasetFromFolder("data/DIV2K_valid_HR"), batch_size=1)
    netG, netD = Generator(opt.upscale_factor).cuda(), Discriminator().cuda()
    generator_criterion = GeneratorLoss().cuda()
    optimizerG, optimizerD = optim.Adam(netG.parameters()), optim.Adam(netD.parameters())
    results = {"psnr": [], "ssim": []}
    for epoch in range(1, opt.num_epochs + 1):
        netG.train()
        netD.train()
        for data, target in tqdm(train_loader):
            real_img, z = target.cuda(), data.cuda()
            fake_img = netG(z)
            d_loss = 1 - netD(real_img).mean() + netD(fake_img.detach()).mean()
            optimizerD.zero_grad()
            d_loss.backward()
            optimizerD.step()
            optimizerG.zero_grad()
            g_loss = generator_criterion(netD(fake_img).mean(), fake_img, real_img)
            g_loss.backward()
            optimizerG.step()
        with torch.no_grad():
            val = {"mse": 0, "ssims": 0, "n": 0}
            for val_lr, _, val_hr in tqdm(val_loader):
                sr = netG(val_lr.cuda())  # expect: NA401
                hr = val_hr.cuda()
                val["n"] += 1
                val["mse"] += ((sr - hr) ** 2).mean()
                val["ssims"] += pytorch_ssim.ssim(sr, hr).item()
            results["psnr"].append(10 * log10(val["n"] / val["mse"]))
            results["ssim"].append(val["ssims"] / val["n"])
        torch.save(netG.state_dict(), "epochs/netG_%d.pth" % epoch)
    pd.DataFrame(results).to_csv("statistics/srf.csv")
