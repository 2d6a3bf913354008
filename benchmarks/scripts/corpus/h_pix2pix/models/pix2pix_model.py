import torch
import torch.nn as nn

from .base_model import BaseModel


def down(i, o):
    return nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o))


class Generator(nn.Module):
    def __init__(self, ngf=64):
        super().__init__()
        self.inp = nn.Conv2d(3, ngf, 4, 2, 1)
        self.d = down(ngf, ngf * 2)
        self.u = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1), nn.BatchNorm2d(ngf), nn.Dropout(0.5))
        self.out = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(ngf, 3, 4, 2, 1), nn.Tanh())

    def forward(self, x):
        return self.out(self.u(self.d(self.inp(x))))


class Pix2PixModel(BaseModel):
    def __init__(self, opt):
        super().__init__(opt)
        self.model_names = ['G', 'D'] if self.isTrain else ['G']
        self.netG = Generator().to(self.device)
        if self.isTrain:
            self.netD = nn.Sequential(nn.Conv2d(6, 64, 4, 2, 1), down(64, 128), nn.Conv2d(128, 1, 4)).to(self.device)
            self.criterionGAN, self.criterionL1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
            self.optimizer_G = torch.optim.Adam(self.netG.parameters(), lr=2e-4, betas=(0.5, 0.999))
            self.optimizer_D = torch.optim.Adam(self.netD.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def set_input(self, input):
        self.real_A, self.real_B = input['A'].to(self.device), input['B'].to(self.device)

    def forward(self):
        self.fake_B = self.netG(self.real_A)  # allow: NA401

    def backward_D(self):
        pred_fake = self.netD(torch.cat((self.real_A, self.fake_B), 1).detach())
        pred_real = self.netD(torch.cat((self.real_A, self.real_B), 1))
        loss = self.criterionGAN(pred_fake, torch.zeros_like(pred_fake)) + self.criterionGAN(pred_real, torch.ones_like(pred_real))
        (loss * 0.5).backward()

    def optimize_parameters(self):
        self.forward()
        self.netD.requires_grad_(True)
        self.optimizer_D.zero_grad()
        self.backward_D()
        self.optimizer_D.step()
        self.netD.requires_grad_(False)
        self.optimizer_G.zero_grad()
        pred = self.netD(torch.cat((self.real_A, self.fake_B), 1))
        (self.criterionGAN(pred, torch.ones_like(pred)) + 100 * self.criterionL1(self.fake_B, self.real_B)).backward()
        self.optimizer_G.step()
