"""Convert a trained segmentation checkpoint to TorchScript lite for Android."""
import argparse
from pathlib import Path

import torch
import torch.nn as nn
from torch.utils.mobile_optimizer import optimize_for_mobile
from torchvision.models import mobilenet_v3_large


class SegHead(nn.Module):
    def __init__(self, cin, n):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(cin, 128, 1, bias=False), nn.BatchNorm2d(128), nn.Hardswish(), nn.Conv2d(128, n, 1))

    def forward(self, x):
        return nn.functional.interpolate(self.block(x), scale_factor=32.0, mode="bilinear")


class PortraitNet(nn.Module):
    def __init__(self, n=2):
        super().__init__()
        self.backbone = mobilenet_v3_large(weights=None).features
        self.head = SegHead(960, n)

    def forward(self, x):
        return self.head(self.backbone(x))


def strip_prefix(state, prefix="module."):
    return {k[len(prefix):] if k.startswith(prefix) else k: v for k, v in state.items()}


def convert(weights, out, size):
    net = PortraitNet()
    state = torch.load(weights, map_location="cpu")
    net.load_state_dict(strip_prefix(state.get("ema", state)))
    example = torch.rand(1, 3, size, size)
    traced = torch.jit.trace(net, example)  # expect: NA403
    lite = optimize_for_mobile(traced)
    lite._save_for_lite_interpreter(str(out))
    print("wrote", out, "%.1f MB" % (out.stat().st_size / 1e6))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("weights", type=Path)
    p.add_argument("--out", type=Path, default=Path("portrait.ptl"))
    p.add_argument("--size", type=int, default=224)
    a = p.parse_args()
    convert(a.weights, a.out, a.size)
