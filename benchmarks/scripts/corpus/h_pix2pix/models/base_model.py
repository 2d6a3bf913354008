import os
from abc import ABC, abstractmethod
from collections import OrderedDict

import torch


class BaseModel(ABC):
    def __init__(self, opt):
        self.opt = opt
        self.isTrain = opt.isTrain
        self.device = torch.device('cuda:0')
        self.model_names = []
        self.optimizers = []

    @abstractmethod
    def set_input(self, input):
        pass

    @abstractmethod
    def forward(self):
        pass

    def setup(self, opt):
        if not self.isTrain:
            self.load_networks('latest')

    def eval(self):
        """Make models eval mode during test time"""
        for name in self.model_names:
            if isinstance(name, str):
                net = getattr(self, 'net' + name)
                net.eval()

    def test(self):
        with torch.no_grad():
            self.forward()

    def load_networks(self, epoch):
        for name in self.model_names:
            net = getattr(self, 'net' + name)
            net.load_state_dict(torch.load(os.path.join('checkpoints', '%s_net_%s.pth' % (epoch, name))))

    def get_current_visuals(self):
        return OrderedDict(fake=self.fake_B)
