"""Feature distillation; the teacher overrides train() so that it can never leave evaluation mode."""
from __future__ import annotations

import logging
from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

log = logging.getLogger(__name__)


@dataclass
class Config:
    teacher: str = "resnet50"
    student: str = "resnet18"
    epochs: int = 30
    lr: float = 1e-3
    beta: float = 0.5


class FrozenTeacher(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.net = timm.create_model(name, pretrained=True, features_only=True)
        self.net.eval()
        self.net.requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenTeacher":
        super().train(mode)
        self.net.eval()
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[-1]


class Distiller(nn.Module):
    def __init__(self, cfg: Config, num_classes: int) -> None:
        super().__init__()
        self.teacher = FrozenTeacher(cfg.teacher)
        self.student = timm.create_model(cfg.student, num_classes=num_classes)
        self.adapter = nn.Conv2d(512, 2048, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        feats = self.student.forward_features(x)
        logits = self.student.forward_head(feats)
        hint = nn.functional.mse_loss(self.adapter(feats), self.teacher(x))
        return logits, hint


def fit(cfg: Config, train_dl: DataLoader, val_dl: DataLoader, num_classes: int, device: torch.device) -> Distiller:
    model = Distiller(cfg, num_classes).to(device)
    trainable = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.Adam(trainable, lr=cfg.lr)
    for epoch in range(cfg.epochs):
        model.train()
        for x, y in train_dl:
            x, y = x.to(device), y.to(device)
            logits, hint = model(x)
            loss = nn.functional.cross_entropy(logits, y) + cfg.beta * hint
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
        log.info("epoch %d: val acc %.4f", epoch, accuracy(model.student, val_dl, device))
    return model


def accuracy(student: nn.Module, dl: DataLoader, device: torch.device) -> float:
    was_training = student.training
    student.train(mode=False)
    correct = total = 0
    with torch.inference_mode():
        for x, y in dl:
            pred = student(x.to(device)).argmax(-1).cpu()
            correct += int((pred == y).sum())
            total += y.numel()
    student.train(mode=was_training)
    return correct / total
