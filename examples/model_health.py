"""A test of a model's health, run by ``pytest examples/model_health.py``: the healthy network passes, and the deep one with sigmoids shows why not."""

import torch
from torch import nn


class Shallow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(8, 32)
        self.act = nn.ReLU()
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.hidden(x)))


class DeepSigmoid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = []
        for _ in range(12):
            layers += [nn.Linear(8, 8), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers, nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(32, 8, generator=generator)
    return inputs, inputs[:, :4].argmax(1)


def test_shallow_network_is_healthy(assert_model_healthy) -> None:
    torch.manual_seed(0)
    assert_model_healthy(Shallow(), batch(), nn.CrossEntropyLoss())


def test_deep_network_is_not(assert_model_healthy) -> None:
    import pytest  # here, so that the models above can be checked where there is no pytest

    torch.manual_seed(0)
    with pytest.raises(AssertionError, match="NA601 vanishing-gradient"):
        assert_model_healthy(DeepSigmoid(), batch(), nn.CrossEntropyLoss())
