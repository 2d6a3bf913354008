from __future__ import annotations

import abc
from typing import Iterable

import torch
from torch import Tensor, nn


class CheckpointMixin:
    model: nn.Module

    def save(self, path: str) -> None:
        torch.save(self.model.state_dict(), path)


class EvalMixin:
    model: nn.Module

    @torch.no_grad()
    def evaluate(self, loader: Iterable[tuple[Tensor, Tensor]]) -> float:
        self.on_eval_start()
        values = [self.metric(self.model(x), y) for x, y in loader]
        self.on_eval_end()
        return sum(values) / len(values)

    def on_eval_start(self) -> None:
        self.model.eval()

    def on_eval_end(self) -> None:
        self.model.train()

    def metric(self, out: Tensor, y: Tensor) -> float:
        return (out.argmax(-1) == y).float().mean().item()


class TrainerBase(abc.ABC):
    def __init__(self, lr: float) -> None:
        self.model = self.build()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr)

    @abc.abstractmethod
    def build(self) -> nn.Module: ...

    @abc.abstractmethod
    def loss(self, batch) -> Tensor: ...

    def fit(self, train, val, epochs: int) -> list[float]:
        history = []
        for _ in range(epochs):
            for batch in train:
                self.optimizer.zero_grad()
                loss = self.loss(batch)
                loss.backward()
                self.optimizer.step()
            history.append(self.evaluate(val))
        return history


class Classifier(EvalMixin, CheckpointMixin, TrainerBase):
    def build(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(.1), nn.Linear(256, 10))

    def loss(self, batch) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.model(x), y)


class Regressor(EvalMixin, CheckpointMixin, TrainerBase):
    """Overrides the end of evaluation to log, and forgets to switch back."""

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Dropout(.2), nn.Linear(64, 1))

    def loss(self, batch) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.model(x), y)

    def metric(self, out: Tensor, y: Tensor) -> float:
        return (out - y).abs().mean().item()

    def on_eval_start(self) -> None:
        self.model.eval()  # expect: NA402

    def on_eval_end(self) -> None:
        print("evaluated")


if __name__ == "__main__":
    from data import digits, houses

    c = Classifier(1e-3)
    print(c.fit(*digits(), epochs=10))
    c.save("c.pt")
    r = Regressor(1e-3)
    print(r.fit(*houses(), epochs=10))
    r.save("r.pt")
