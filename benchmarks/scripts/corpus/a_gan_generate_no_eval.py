"""Generate a folder of faces from a trained generator."""
import argparse
from pathlib import Path

import torch
from torch import nn
from torchvision.utils import save_image


class Generator(nn.Module):
    def __init__(self, z_dim=128, ch=64):
        super().__init__()

        def up(i, o):
            return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(i, o, 3, 1, 1), nn.BatchNorm2d(o, 0.8), nn.LeakyReLU(0.2))

        self.fc = nn.Linear(z_dim, ch * 8 * 8)
        self.body = nn.Sequential(nn.BatchNorm2d(ch), up(ch, ch), up(ch, ch // 2), nn.Conv2d(ch // 2, 3, 3, 1, 1), nn.Tanh())

    def forward(self, z):
        h = self.fc(z)
        return self.body(h.view(h.size(0), -1, 8, 8))


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("checkpoint", type=Path)
    p.add_argument("--out", type=Path, default=Path("samples"))
    p.add_argument("-n", type=int, default=1000)
    p.add_argument("--truncation", type=float, default=1.0)
    return p.parse_args()


def main():
    args = parse()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = Generator().to(device)
    state = torch.load(args.checkpoint, map_location=device)
    generator.load_state_dict(state["generator"])
    args.out.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        for i in range(args.n):
            z = torch.randn(1, 128, device=device) * args.truncation
            image = generator(z)  # expect: NA401
            save_image(image, args.out / f"{i:05d}.png", normalize=True, value_range=(-1, 1))


if __name__ == "__main__":
    main()
