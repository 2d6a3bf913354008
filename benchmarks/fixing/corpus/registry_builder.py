# mistakes: NA102 in ConvModule (bias="auto" ignored), NA105 none; models: build_backbone(); input: 4x3x32x32
import inspect

import torch.nn as nn


class Registry(dict):
    def register_module(self, name=None):
        def _register(cls):
            self[name or cls.__name__] = cls
            return cls
        return _register

    def build(self, cfg, *args, **kwargs):
        cfg = dict(cfg)
        cls = self[cfg.pop("type")]
        return cls(*args, **kwargs, **cfg)


NORMS = Registry(BN=nn.BatchNorm2d, GN=nn.GroupNorm)
ACTIVATIONS = Registry(ReLU=nn.ReLU, LeakyReLU=nn.LeakyReLU)
CONVS = Registry(Conv2d=nn.Conv2d)
BACKBONES = Registry()


class ConvModule(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, bias="auto",
                 conv_cfg=dict(type="Conv2d"), norm_cfg=None, act_cfg=dict(type="ReLU", inplace=True)):
        super().__init__()
        self.with_norm = norm_cfg is not None
        self.with_activation = act_cfg is not None
        if bias == "auto":
            bias = True
        self.conv = CONVS.build(conv_cfg, in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=bias)
        if self.with_norm:
            self.bn = NORMS.build(norm_cfg, out_channels)
        if self.with_activation:
            self.activate = ACTIVATIONS.build(act_cfg)

    def forward(self, x):
        x = self.conv(x)
        if self.with_norm:
            x = self.bn(x)
        if self.with_activation:
            x = self.activate(x)
        return x


@BACKBONES.register_module()
class Backbone(nn.Module):
    def __init__(self, widths=(8, 16, 32), norm_cfg=None):
        super().__init__()
        self.stages = nn.ModuleList()
        c = 3
        for w in widths:
            self.stages.append(ConvModule(c, w, 3, stride=2, padding=1, norm_cfg=norm_cfg))
            c = w

    def forward(self, x):
        outs = []
        for stage in self.stages:
            x = stage(x)
            outs.append(x)
        return tuple(outs)


def build_backbone(cfg=dict(type="Backbone", norm_cfg=dict(type="BN", eps=1e-5))):
    return BACKBONES.build(cfg)
