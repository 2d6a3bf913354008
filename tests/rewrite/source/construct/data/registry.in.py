# fix: set_argument 0.conv|1.conv bias=False
# fix: set_argument 3.conv bias=False
from torch import nn


class Registry(dict):
    def build(self, cfg, *args, **kwargs):
        cfg = dict(cfg)
        cls = self[cfg.pop("type")]
        return cls(*args, **kwargs, **cfg)


CONVS = Registry(Conv=nn.Conv2d)
NORMS = Registry(BN=nn.BatchNorm2d, GN=nn.GroupNorm)


class Module(nn.Sequential):
    def __init__(self, inputs, outputs, bias="auto", norm=None):
        super().__init__()
        self.with_norm = norm is not None
        if bias == "auto":
            bias = True
        self.conv = CONVS.build(dict(type="Conv"), inputs, outputs, 1, bias=bias)
        if self.with_norm:
            self.norm = NORMS.build(norm, outputs)


class Last(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = CONVS.build(dict(type="Conv"), inputs, outputs, 1, bias=True)
        self.norm = NORMS.build(dict(type="BN"), outputs)


class Net(nn.Sequential):
    def __init__(self):
        norm = dict(type="BN", eps=1e-5)
        super().__init__(Module(3, 8, norm=norm), Module(8, 4, norm=norm), Module(4, 4), Last(4, 4))
