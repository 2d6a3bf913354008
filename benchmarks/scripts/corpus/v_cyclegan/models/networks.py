import functools

import torch.nn as nn
from torch.nn import init
from torch.optim import lr_scheduler


def get_norm_layer(norm_type="instance"):
    if norm_type == "batch":
        return functools.partial(nn.BatchNorm2d, affine=True, track_running_stats=True)
    return functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)


def get_scheduler(optimizer, opt):
    return lr_scheduler.LambdaLR(optimizer, lr_lambda=lambda e: 1.0 - max(0, e - opt.n_epochs) / float(opt.n_epochs_decay + 1))


def init_weights(net, init_gain=0.02):
    def init_func(m):
        name = m.__class__.__name__
        if hasattr(m, "weight") and (name.find("Conv") != -1 or name.find("Linear") != -1):
            init.normal_(m.weight.data, 0.0, init_gain)
            if hasattr(m, "bias") and m.bias is not None:
                init.constant_(m.bias.data, 0.0)
        elif name.find("BatchNorm2d") != -1:
            init.normal_(m.weight.data, 1.0, init_gain)
            init.constant_(m.bias.data, 0.0)

    net.apply(init_func)


def init_net(net, gpu_ids=()):
    if len(gpu_ids) > 0:
        net.to(gpu_ids[0])
        net = nn.DataParallel(net, gpu_ids)
    init_weights(net)
    return net


def define_G(input_nc, output_nc, ngf, norm="batch", use_dropout=False, gpu_ids=()):
    return init_net(ResnetGenerator(input_nc, output_nc, ngf, get_norm_layer(norm), use_dropout), gpu_ids)


def define_D(input_nc, ndf, norm="batch", gpu_ids=()):
    norm_layer = get_norm_layer(norm)
    net = nn.Sequential(nn.Conv2d(input_nc, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(ndf, ndf * 2, 4, 2, 1),
                        norm_layer(ndf * 2), nn.LeakyReLU(0.2, True), nn.Conv2d(ndf * 2, 1, 4, 1, 1))
    return init_net(net, gpu_ids)


class ResnetGenerator(nn.Module):
    def __init__(self, input_nc, output_nc, ngf, norm_layer, use_dropout, n_blocks=6):
        super().__init__()
        model = [nn.ReflectionPad2d(3), nn.Conv2d(input_nc, ngf, 7), norm_layer(ngf), nn.ReLU(True)]
        for _ in range(n_blocks):
            model += [nn.Conv2d(ngf, ngf, 3, padding=1), norm_layer(ngf), nn.ReLU(True)]
            if use_dropout:
                model += [nn.Dropout(0.5)]
        model += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, output_nc, 7), nn.Tanh()]
        self.model = nn.Sequential(*model)

    def forward(self, input):
        return self.model(input)
