import logging
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

logger = logging.getLogger(__name__)


class ConvNet(nn.Module):
    def __init__(self, width: int = 32, p: float = 0.25) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(p), nn.Linear(2 * width * 49, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


class Trainer:
    """Owns model, optimizer and both loaders."""

    def __init__(self, model: nn.Module, train_loader: DataLoader, val_loader: DataLoader, lr: float, out_dir: str) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.loss_fn = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
        self.out_dir = out_dir
        self.best = float("inf")

    def fit(self, epochs: int) -> None:
        self.model.train()
        for epoch in range(epochs):
            loss = self._train_epoch()
            val_loss, accuracy = self._validate()
            logger.info("epoch %d: train %.4f, val %.4f, acc %.4f", epoch, loss, val_loss, accuracy)
            if val_loss < self.best:
                self.best = val_loss
                self._save("best.pt")

    def _train_epoch(self) -> float:
        total = 0.0
        for images, labels in self.train_loader:
            images, labels = images.to(self.device), labels.to(self.device)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss_fn(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.train_loader)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        self.model.eval()  # expect: NA402
        total, correct, count = 0.0, 0, 0
        for images, labels in self.val_loader:
            images, labels = images.to(self.device), labels.to(self.device)
            logits = self.model(images)
            total += self.loss_fn(logits, labels).item()
            correct += int((logits.argmax(-1) == labels).sum())
            count += labels.numel()
        return total / len(self.val_loader), correct / count

    def _save(self, name: str) -> None:
        os.makedirs(self.out_dir, exist_ok=True)
        torch.save({"model": self.model.state_dict()}, os.path.join(self.out_dir, name))


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    full = FashionMNIST("data", train=True, download=True, transform=ToTensor())
    train, val = random_split(full, [55000, 5000])
    trainer = Trainer(
        ConvNet(),
        DataLoader(train, batch_size=64, shuffle=True),
        DataLoader(val, batch_size=256),
        lr=3e-4,
        out_dir="runs/fashion",
    )
    trainer.fit(15)


if __name__ == "__main__":
    main()
