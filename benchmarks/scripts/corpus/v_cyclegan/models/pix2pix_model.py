import torch

from . import networks
from .base_model import BaseModel


class Pix2PixModel(BaseModel):
    def __init__(self, opt):
        BaseModel.__init__(self, opt)
        self.loss_names = ["G_GAN", "G_L1", "D"]
        self.model_names = ["G", "D"] if self.isTrain else ["G"]
        self.netG = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.norm, not opt.no_dropout, opt.gpu_ids)
        if self.isTrain:
            self.netD = networks.define_D(opt.input_nc + opt.output_nc, opt.ndf, opt.norm, opt.gpu_ids)
            self.criterionGAN = torch.nn.BCEWithLogitsLoss()
            self.criterionL1 = torch.nn.L1Loss()
            self.optimizer_G = torch.optim.Adam(self.netG.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
            self.optimizer_D = torch.optim.Adam(self.netD.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
            self.optimizers += [self.optimizer_G, self.optimizer_D]

    def set_input(self, input):
        self.real_A = input["A"].to(self.device)
        self.real_B = input["B"].to(self.device)

    def forward(self):
        self.fake_B = self.netG(self.real_A)  # allow: NA401

    def gan(self, pred, real):
        return self.criterionGAN(pred, torch.full_like(pred, 1.0 if real else 0.0))

    def optimize_parameters(self):
        self.forward()
        self.set_requires_grad(self.netD, True)
        self.optimizer_D.zero_grad()
        fake = self.netD(torch.cat((self.real_A, self.fake_B), 1).detach())
        real = self.netD(torch.cat((self.real_A, self.real_B), 1))
        loss_D = (self.gan(fake, False) + self.gan(real, True)) * 0.5
        loss_D.backward()
        self.optimizer_D.step()
        self.set_requires_grad(self.netD, False)
        self.optimizer_G.zero_grad()
        loss_G = self.gan(self.netD(torch.cat((self.real_A, self.fake_B), 1)), True) + 100.0 * self.criterionL1(self.fake_B, self.real_B)
        loss_G.backward()
        self.optimizer_G.step()
