"""Continue training a galaxy morphology network from a published checkpoint."""
import os
from typing import Tuple

import torch
import torchvision.transforms as T
from torch import Tensor, nn
from torch.utils.data import DataLoader

from galaxyzoo import GalaxyZoo


def conv(i: int, o: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1), nn.MaxPool2d(2))


class Morphology(nn.Module):
    def __init__(self, n_questions: int = 37):
        super().__init__()
        self.features = nn.Sequential(conv(3, 32), conv(32, 64), conv(64, 128), conv(128, 256))
        self.regressor = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, n_questions))

    def forward(self, x: Tensor) -> Tensor:
        return self.regressor(self.features(x)).sigmoid()


def restore(path: str, device: torch.device) -> Tuple[nn.Module, int]:
    net = Morphology()
    ckpt = torch.load(path, map_location="cpu")
    net.load_state_dict(ckpt["net"])
    net.to(device)
    net.eval()
    return net, ckpt["epoch"]


def rmse(pred: Tensor, target: Tensor) -> Tensor:
    return (pred - target).pow(2).mean().sqrt()


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, start = restore(os.environ["CKPT"], device)
    aug = T.Compose([T.RandomRotation(180), T.CenterCrop(224), T.ToTensor()])
    loader = DataLoader(GalaxyZoo("train", aug), batch_size=128, shuffle=True, num_workers=8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    for epoch in range(start, start + 20):
        running = 0.0
        for images, answers in loader:
            optimizer.zero_grad()
            loss = rmse(net(images.to(device)), answers.to(device))
            loss.backward()
            optimizer.step()  # expect: NA405
            running += loss.item()
        print(f"epoch {epoch}: rmse {running / len(loader):.5f}")
        torch.save({"net": net.state_dict(), "epoch": epoch + 1}, f"galaxy_{epoch:03d}.pt")


if __name__ == "__main__":
    main()
