"""Watches a loop of one's own: every 20th step is measured, written to a CSV file, and looked at by rules; gradients are those before clipping."""

import sys

import torch
from torch import nn

import normadvisor


class StripeNet(nn.Module):
    """Tells in which of four directions the stripes of an image run."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))


def stripes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(0, 4, (count,))
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    angles = labels[:, None, None] * torch.pi / 4
    waves = torch.sin(rows * torch.sin(angles) + columns * torch.cos(angles) + 6 * torch.rand(count, 1, 1))
    return waves[:, None] + 0.5 * torch.randn(count, 1, 16, 16), labels


def main(log: str = "csv:stripes.csv") -> None:
    torch.manual_seed(0)
    model = StripeNet()
    model.train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with normadvisor.watch(model, every=20, log=log) as watching:
        for _ in range(100):
            images, labels = stripes(32)
            loss = criterion(model(images), labels)
            watching.loss(loss)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    for finding in watching:
        print(finding.rule, finding.message)
    print(watching.report())


if __name__ == "__main__":
    main(*sys.argv[1:])
