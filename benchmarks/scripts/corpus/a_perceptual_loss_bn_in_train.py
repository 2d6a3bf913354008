"""Super resolution with a perceptual loss on VGG-BN features."""
import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import VGG16_BN_Weights, vgg16_bn


class SRNet(nn.Module):
    def __init__(self, scale=2, c=64, blocks=8):
        super().__init__()
        self.head = nn.Conv2d(3, c, 3, padding=1)
        self.body = nn.ModuleList([nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.PReLU(), nn.Conv2d(c, c, 3, padding=1)) for _ in range(blocks)])
        self.tail = nn.Sequential(nn.Conv2d(c, 3 * scale ** 2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        h = self.head(x)
        for b in self.body:
            h = h + b(h)
        return self.tail(h)


def psnr(a, b):
    return -10 * math.log10(F.mse_loss(a, b).item())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--beta', type=float, default=.006)
    parser.add_argument('--epochs', type=int, default=50)
    args = parser.parse_args()
    from div2k import Pairs
    train = DataLoader(Pairs('train', crop=96), batch_size=16, shuffle=True, num_workers=4)
    val = DataLoader(Pairs('valid'), batch_size=1)
    net = SRNet().cuda()
    vgg = vgg16_bn(weights=VGG16_BN_Weights.DEFAULT).features[:23].cuda()
    for p in vgg.parameters():
        p.requires_grad = False
    opt = torch.optim.Adam(net.parameters(), lr=1e-4)
    for epoch in range(args.epochs):
        net.train()
        for lr_img, hr_img in train:
            lr_img, hr_img = lr_img.cuda(), hr_img.cuda()
            sr = net(lr_img)
            with torch.no_grad():
                target = vgg(hr_img)  # expect: NA404
            loss = F.l1_loss(sr, hr_img) + args.beta * F.mse_loss(vgg(sr), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            score = [psnr(net(a.cuda()).clamp(0, 1), b.cuda()) for a, b in val]
        print(epoch, sum(score) / len(score))


if __name__ == '__main__':
    main()
